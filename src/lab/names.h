/* names: the lab's name server: answers a router's questions (route/resolver.h) as the scenario says, after the scenario's delay. */
#ifndef MR_LAB_NAMES_H
#define MR_LAB_NAMES_H

#include "lab/play.h"
#include "route/resolver.h"

struct names;
struct names *names_create(struct play *play);
struct resolver names_resolver(struct names *names);
void names_destroy(struct names **names); /* questions that wait are not answered any more */

#endif
