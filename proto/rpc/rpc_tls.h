/* What one end of a connection under TLS shows and trusts, as PEM texts. */
#pragma once

struct rpc_tls {
    /* Its certificate with what signed it, and its private key; a client may have none: NULL. */
    const char *certificate, *key;
    /* Who signs the other end's certificates; a server with NULL asks its clients for none. */
    const char *authority;
};
