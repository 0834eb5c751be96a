#include "store/postgres_private.h"

#include <endian.h>

enum { ARRAY_HEAD = 20 }; /* dimensions, flags, element type, length, lower bound: array_recv() */

static void put_32(struct buf *out, uint32_t number)
{
    number = htobe32(number);
    buf_append(out, slice_make((const char *)&number, sizeof number));
}

static void put_64(struct buf *out, int64_t number)
{
    uint64_t octets = htobe64((uint64_t)number);
    buf_append(out, slice_make((const char *)&octets, sizeof octets));
}

static void array_more(struct pg_array *array)
{
    if (array->count++ == 0) {
        buf_clear(&array->bytes);
        memset(buf_reserve(&array->bytes, ARRAY_HEAD), 0, ARRAY_HEAD);
        array->bytes.size = ARRAY_HEAD;
    }
}

void array_number(struct pg_array *array, int64_t number)
{
    array_more(array);
    put_32(&array->bytes, sizeof number);
    put_64(&array->bytes, number);
}

void array_null_number(struct pg_array *array)
{
    array_more(array);
    put_32(&array->bytes, UINT32_MAX);
}

void array_text(struct pg_array *array, struct slice text)
{
    array_more(array);
    put_32(&array->bytes, slice_is_absent(text) ? UINT32_MAX : (uint32_t)text.size);
    buf_append(&array->bytes, text);
}

void array_clear(struct pg_array *array)
{
    array->count = 0;
    if (array->bytes.capacity > 4 * CONTENT_PART)
        buf_finish(&array->bytes);
}

static void params_add(struct pg_params *params, size_t offset, int size)
{
    CHECK(params->count < PARAMS_MAX);
    params->items[params->count].offset = offset;
    params->items[params->count++].size = size;
}

void params_number(struct pg_params *params, int64_t number)
{
    params_add(params, params->bytes.size, sizeof number);
    put_64(&params->bytes, number);
}

void params_text(struct pg_params *params, struct slice text)
{
    params_add(params, params->bytes.size, slice_is_absent(text) ? -1 : (int)text.size);
    buf_append(&params->bytes, text);
}

void params_array(struct pg_params *params, struct pg_array *array, enum pg_type type)
{
    struct buf head = {0};
    size_t offset = params->bytes.size;
    if (array->count == 0) { /* no dimensions */
        put_32(&params->bytes, 0);
        put_32(&params->bytes, 0);
        put_32(&params->bytes, type);
    } else {
        put_32(&head, 1);
        put_32(&head, 1); /* there may be NULLs */
        put_32(&head, type);
        put_32(&head, (uint32_t)array->count);
        put_32(&head, 1);
        CHECK(head.size == ARRAY_HEAD);
        memcpy(array->bytes.data, head.data, ARRAY_HEAD);
        buf_append(&params->bytes, buf_slice(&array->bytes));
    }
    buf_finish(&head);
    params_add(params, offset, (int)(params->bytes.size - offset));
}

int64_t row_number(const PGresult *rows, int row, int column)
{
    uint64_t octets;
    if (PQgetisnull(rows, row, column))
        return 0;
    CHECK(PQgetlength(rows, row, column) == sizeof octets);
    memcpy(&octets, PQgetvalue(rows, row, column), sizeof octets);
    return (int64_t)be64toh(octets);
}

struct slice row_text(const PGresult *rows, int row, int column)
{
    if (PQgetisnull(rows, row, column))
        return SLICE_NONE;
    return slice_make(PQgetvalue(rows, row, column), (size_t)PQgetlength(rows, row, column));
}

void row_message(const PGresult *rows, int row, struct store_message *ret_message)
{
    *ret_message = (struct store_message){
        .id = (uint64_t)row_number(rows, row, 0),
        .arrived_ms = row_number(rows, row, 1),
        .sender = row_text(rows, row, 2),
        .envid = row_text(rows, row, 3),
        .auth = row_text(rows, row, 4),
        .ret = (int)row_number(rows, row, 5),
        .flags = (unsigned)row_number(rows, row, 6),
        .priority = (int)row_number(rows, row, 7),
        .pickup_name = row_text(rows, row, 8),
        .owner = row_text(rows, row, 9),
        .message_id = row_text(rows, row, 10),
        .subject = row_text(rows, row, 11),
        .size = (size_t)row_number(rows, row, 12),
        .header_size = (size_t)row_number(rows, row, 13),
        .policy = row_text(rows, row, 14),
    };
}

void row_recipient(const PGresult *rows, int row, struct store_recipient *ret_recipient)
{
    *ret_recipient = (struct store_recipient){
        .message_id = (uint64_t)row_number(rows, row, 0),
        .number = (unsigned)row_number(rows, row, 1),
        .address = row_text(rows, row, 2),
        .domain = row_text(rows, row, 3),
        .orcpt = row_text(rows, row, 4),
        .notify = (unsigned)row_number(rows, row, 5),
        .state = (enum store_state)row_number(rows, row, 6),
        .attempts = (unsigned)row_number(rows, row, 7),
        .next_ms = row_number(rows, row, 8),
        .last_attempt_ms = row_number(rows, row, 9),
        .is_delay_noticed = row_number(rows, row, 10) != 0,
        .last_status = row_text(rows, row, 11),
        .last_reply = row_text(rows, row, 12),
        .last_host = row_text(rows, row, 13),
        .route = row_text(rows, row, 14),
        .priority = (int)row_number(rows, row, 15),
    };
}
