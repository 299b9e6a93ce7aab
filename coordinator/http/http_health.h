/* Whether the process lives, whether it can work, and what it counts. */
#pragma once

#include "coordinator/http/http_exchange.h"

/* /healthz: the process answers. */
MUST_CHECK enum status http_health_alive(struct http_exchange *exchange);
/* /readyz: 503 while it drains and while no worker group is complete, loaded and at work. */
MUST_CHECK enum status http_health_ready(struct http_exchange *exchange);
/* /metrics, in Prometheus' text or as OpenMetrics, as the client accepts. */
MUST_CHECK enum status http_health_metrics(struct http_exchange *exchange);
