/* A page and a post to it, parted by the first NUL: the page is read, rendered, checked and laid out in every format. */
#include "web/charset.h"
#include "web/gather.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice value_of(void *arg, struct slice name)
{
    return gathered_value(arg, name);
}

static void lay_out(struct arena *arena, struct gathered *gathered)
{
    struct results results;
    struct buf faults = {0}, out = {0};
    struct page_rendering with = {SLICE("/_vti_bin/shtml.dll/p.htm"), SLICE(""), value_of, gathered};
    size_t files;
    gathered_results(gathered, &results);
    (void)!gathered_check(gathered, &faults);
    (void)gathered_files(gathered, &files);
    for (int format = RESULTS_PRE; format <= RESULTS_OL; format++)
        results_put(&results, (enum results_format)format, format % 2 == 0, &out);
    buf_clear(&out);
    page_render(arena, gathered->page, &with, &out);
    buf_finish(&faults);
    buf_finish(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct slice post = slice_make((const char *)data, size), octets = slice_cut(&post, '\0');
    struct page page;
    struct form_body body;
    struct gathered gathered;
    struct error error;
    struct visit visit = {SLICE("127.0.0.1"), SLICE(""), SLICE("fuzz"), 0};
    struct slice type = size % 2 ? SLICE("application/x-www-form-urlencoded") : SLICE("multipart/form-data; boundary=x");
    page_read(&arena, octets, &page);
    if (form_body_read(&arena, type, post, &body, &error) == FORM_DONE) {
        gather(&arena, &page, &body, &visit, &gathered);
        if (gathered.form)
            lay_out(&arena, &gathered);
    }
    arena_finish(&arena);
    return 0;
}
