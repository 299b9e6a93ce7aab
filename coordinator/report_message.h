/* What a rank reports of a request, as the message that clients see. */
#pragma once

#include "longhaul/control/v1/control.pb-c.h"
#include "longhaul/v1/inference.pb-c.h"

enum { REPORT_MESSAGE_PARTS = 9 };

/* A report with its storage; `report` points into the rest, so the struct stays where it is. */
struct report_message {
    Longhaul__V1__RankReport report;
    Longhaul__V1__ComputePart parts[REPORT_MESSAGE_PARTS];
    Longhaul__V1__ComputePart *pointers[REPORT_MESSAGE_PARTS];
};

void report_message_set(struct report_message *message, int rank,
                        const Longhaul__Control__V1__RankReport *from);
