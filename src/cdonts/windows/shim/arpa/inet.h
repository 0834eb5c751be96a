/* The one function of sockets that message/address.c uses, over ntdll: a library that only writes files needn't load Winsock. */
#ifndef MR_CDONTS_SHIM_INET_H
#define MR_CDONTS_SHIM_INET_H

#ifndef AF_INET /* windows.h has both */
#define AF_INET 2
#define AF_INET6 23
#endif

int inet_pton(int family, const char *text, void *ret_octets);

#endif
