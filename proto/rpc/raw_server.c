/* Owns nothing. Promises that every server has the same limits. */
#include "proto/rpc/raw_server.h"

#include <grpc/grpc_security.h>

#include "proto/rpc/rpc_server.h"

static grpc_arg integer_argument(const char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

grpc_server *raw_server_create(struct rpc_queue *arrivals, struct rpc_queue *calls)
{
    grpc_arg list[] = {
        /* gRPC holds a whole message before it looks at its length, and then ends the call as if
         * asking again might help: each method's own limit says OUT_OF_RANGE. */
        integer_argument(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, -1),
        integer_argument(GRPC_ARG_MAX_METADATA_SIZE, 8 << 10),
        integer_argument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 128),
        integer_argument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10000),
        integer_argument(GRPC_ARG_KEEPALIVE_TIME_MS, 60000),
        integer_argument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000),
        integer_argument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        integer_argument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        /* A little less than is promised: the network may bring two pings nearer together. */
        integer_argument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                         RPC_PING_INTERVAL_MS * 9 / 10),
        /* A small message would expand to gigabytes: compressed ones end UNIMPLEMENTED, and are
         * not expanded on the way to that. */
        integer_argument(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
                         1 << GRPC_COMPRESS_NONE),
        integer_argument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
    };
    grpc_channel_args arguments = {sizeof list / sizeof list[0], list};
    grpc_server *raw = grpc_server_create(&arguments, NULL);
    grpc_server_register_completion_queue(raw, rpc_queue_raw(arrivals), NULL);
    grpc_server_register_completion_queue(raw, rpc_queue_raw(calls), NULL);
    return raw;
}

enum status raw_server_listen(grpc_server *raw, grpc_server_credentials **credentials, int *bound,
                              const char *address, const struct rpc_tls *tls)
{
    grpc_ssl_pem_key_cert_pair pair = {tls->key, tls->certificate};
    grpc_server_credentials *made = grpc_ssl_server_credentials_create_ex(
        tls->authority, &pair, 1,
        tls->authority ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                       : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
        NULL);
    if (!made)
        return fail(STATUS_INVALID_ARGUMENT, "listen on %s: the certificate and its key are no use",
                    address);
    *credentials = made;
    *bound = grpc_server_add_http2_port(raw, address, made);
    return *bound ? STATUS_OK
                  : fail(STATUS_UNAVAILABLE,
                         "listen on %s: the address cannot be bound, or the certificate and its "
                         "key are no pair; choose another one with --listen",
                         address);
}
