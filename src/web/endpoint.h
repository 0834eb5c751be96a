/* endpoint: the forms of the config, form "name" { … }: POST /forms/NAME, from plain HTML or fetch().
 *
 *   GET  /forms/NAME/token   {"token": "…", "work": N} for pages that fetch(); pages given out by us carry it as a hidden field
 *   GET  /forms/work.js      what does the work of N6 in the visitor's browser
 *   POST /forms/NAME         urlencoded, multipart or a JSON object of texts; JSON is answered with JSON
 *
 * N1  to, from, subject and answer are the config's; what was typed is text, and Reply-To if it is one valid address
 * N2  a token is signed, an hour old at most, and at least least_time; it sends once: the same one again gets the same answer,
 *     nothing is sent
 * N3  the honeypot must be empty; files only as many and of such kinds as the config says; one rate with all forms
 * N4  Origin, if there is one, is our host or one of `origins`, which get CORS answers
 * N5  the auto-answer has the config's words alone, no sender to bounce to, and Auto-Submitted
 * N6  work = N: mailroot-work is a number with which SHA-256 of "token:number" begins with N zero bits. It costs a visitor's browser a
 *     moment, a robot that sends thousands a lot; pages given out by us do it by themselves, others by the script
 * N7  a browser says in the hidden field _charset_ which charset the page has it post in; without it, what is no UTF-8 is windows-1252
 * The key of tokens is made at the start: a page from before a restart is to be loaded again. */
#ifndef MR_WEB_ENDPOINT_H
#define MR_WEB_ENDPOINT_H

#include "web/rate.h"
#include "web/request.h"

struct endpoints;
struct endpoints *endpoints_create(const struct config *config, struct rate *rate);
void endpoints_destroy(struct endpoints **endpoints);
const struct config_form *endpoint_find(const struct config *config, struct slice path); /* NULL: no path of a form */
void endpoint_answer(struct endpoints *endpoints, struct request *request, struct answer *answer);
bool endpoint_is_script(struct slice path);
void endpoint_script(struct answer *answer);
/* <input type="hidden" …> with a new token, "" if no form is configured. */
struct slice endpoints_hidden(struct endpoints *endpoints, struct arena *arena);

#endif
