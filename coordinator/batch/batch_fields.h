/* What a client may write into a batch that it makes. */
#pragma once

#include "coordinator/batch/batch_tools.h"
#include "coordinator/batch/store_batch.h"
#include "longhaul/v1/batches.pb-c.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

/* INVALID_ARGUMENT, with the field. Fills the arguments that follow from the batch, metadata
 * apart, which batch_message_pack_labels makes; they borrow its texts. */
MUST_CHECK enum status batch_fields_read(struct store_batch_args *args,
                                         struct status_details *details,
                                         const struct batch_tools *tools,
                                         const Longhaul__V1__Batch *batch);
