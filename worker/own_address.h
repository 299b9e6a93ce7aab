/* Under which address this process reaches a peer, and by which interface of the host. */
#pragma once

enum { OWN_ADDRESS_BYTES = 64, OWN_ADDRESS_INTERFACE_BYTES = 32 };

struct own_address {
    char address[OWN_ADDRESS_BYTES];             /* "198.18.0.11"; "": not known */
    char interface[OWN_ADDRESS_INTERFACE_BYTES]; /* "eth0"; "": not known */
};

/* `peer`: HOST:PORT. Sends nothing; looks the name up as a connection to it does. */
void own_address_find(struct own_address *own, const char *peer);
