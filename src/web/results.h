/* results: what was posted, laid out as the Server Extensions did: for mail and for results files.
 *
 * R1  hidden fields first, then the others in the form's order, text areas last, built-in fields before those; S-Form-Fields
 *     chooses and orders
 * R2  an unchecked box or an empty field stands there with an empty value; a button only if it was pressed
 * R3  TEXT/PRE: 79 stars, "Label:" padded to the longest label + 2, text areas below as blocks
 * R4  TEXT/CSV, TEXT/TSV: every label and value in double quotes, doubled inside; CRLF
 * R5  HTML: values are escaped, web addresses and e-mail addresses become links (Q165347)
 * R6  a cell that a spreadsheet would take for a formula (= + - @ in front, no number) gets a "'" in front */
#ifndef MR_WEB_RESULTS_H
#define MR_WEB_RESULTS_H

#include "base/buf.h"

enum results_format { RESULTS_PRE, RESULTS_CSV, RESULTS_TSV, RESULTS_BR, RESULTS_DL, RESULTS_UL, RESULTS_OL };

struct result_field { struct slice label, value; bool is_area, is_hidden, is_builtin; };
struct results { struct result_field *fields; size_t count; };

/* "HTML/BR" …; what isn't known is TEXT/PRE, as is an absent one. */
enum results_format results_format_of(struct slice name);
bool results_is_html(enum results_format format);
/* One record. With `has_labels` false only values are put. */
void results_put(const struct results *results, enum results_format format, bool has_labels, struct buf *out);
/* The header row of a CSV or TSV file. */
void results_put_labels(const struct results *results, enum results_format format, struct buf *out);
/* `old` is a results file's content ("" for a new one), `record` what results_put() made; at FormInsertHere if the file has that
 * mark, else at the end, or with `is_newest_first` at the front. */
struct results_file { struct slice old, record, labels, title; bool is_html, is_newest_first; };
void results_merge(const struct results_file *file, struct buf *out);

#endif
