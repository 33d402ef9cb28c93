/* Tables of the slot helper's messages: see slot_protocol.h. */
#include "restore/protocol/slot_protocol.h"

SLOT_MESSAGES(SHAPE_DEFINE)
