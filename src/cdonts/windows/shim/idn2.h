/* The one function of libidn2 that message/address.c uses, over what Windows has (IDNA2008 from Windows 10 on). */
#ifndef MR_CDONTS_SHIM_IDN2_H
#define MR_CDONTS_SHIM_IDN2_H

#include <stdint.h>

enum { IDN2_OK = 0, IDN2_NFC_INPUT = 1, IDN2_NONTRANSITIONAL = 8 };

int idn2_lookup_u8(const uint8_t *text, uint8_t **ret_ascii, int flags);
void idn2_free(void *memory);

#endif
