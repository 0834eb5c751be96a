/* What the files of a run share: lab.c (the loop), world.c (folder, config), mail.c (what is sent), steps.c (what is done to the relay). */
#ifndef MR_LAB_LAB_PRIVATE_H
#define MR_LAB_LAB_PRIVATE_H

#include "lab/hosts.h"
#include "lab/lab.h"
#include "lab/names.h"
#include "os/timer.h"

enum { LAB_AGAIN_MS = 5000 };

struct lab {
    const struct lab_parts *parts;
    struct play play;
    struct config *config;
    struct certificates *certificates;
    struct names *names;
    struct hosts *hosts;
    struct resolver resolver;
    struct network network;
    struct event_base *base;
    struct post *post;
    struct event_log *log;
    struct badmail_folder badmail;
    struct ids ids;
    struct store_place place;
    struct writer *writer;
    struct store *reader;
    struct relay *relay;
    int events_fd;
    struct buf events;         /* read and not yet told */
    char *queue_dir, *events_file, *ca_file, *no_config;
    struct sending *sendings;  /* as scenario->sends */
    struct doing *doings;      /* as scenario->steps */
    struct handing *handings;  /* messages that are not in the queue yet */
    size_t left;               /* sends and steps that are not done */
    const char *failure;       /* why commits fail; NULL: they don't */
    struct timer *limit;       /* of a restart */
    bool is_finished;          /* the relay is, it starts anew */
    bool is_over;
};

/* world.c */
MUST_USE bool lab_make_world(struct lab *lab, struct buf *report);
MUST_USE bool lab_start_relay(struct lab *lab, struct error *error);
void lab_stop_relay(struct lab *lab);
void lab_read_events(struct lab *lab);

/* mail.c */
void lab_mail_start(struct lab *lab);
void lab_mail_end(struct lab *lab);

/* steps.c */
void lab_steps_start(struct lab *lab);
void lab_steps_end(struct lab *lab);

#endif
