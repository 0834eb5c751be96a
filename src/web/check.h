/* check: a form's values against its Validation bots, with the words of FrontPage's own scripts.
 *
 * V1  required: something but blanks; of a radio group or list: a choice
 * V2  lengths count characters, not octets
 * V3  an empty value that isn't required passes every other rule
 * V4  numbers: the thousands separator may part groups, the decimal one stands once; Integer has none
 * V5  "Greater than", "Less than", "Equal to", "Not equal to", "… or equal to": by number for numbers, else by text */
#ifndef MR_WEB_CHECK_H
#define MR_WEB_CHECK_H

#include "web/webbot.h"

/* Appends one line ("Please …", with LF) for each fault of this field; true if there was none. */
MUST_USE bool check_value(const struct page_field *field, struct slice value, struct buf *faults);

#endif
