/* Tables of the image helper's messages: see image_protocol.h. */
#include "restore/protocol/image_protocol.h"

IMAGE_MESSAGES(SHAPE_DEFINE)
