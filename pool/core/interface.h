#ifndef POOL_INTERFACE_H
#define POOL_INTERFACE_H
/* pool/core/io.dompool.varlink, NUL-terminated. */
extern const char api_interface_text[];
#endif
