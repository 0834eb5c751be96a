/* A folder.conf of any bytes, which whoever may write to a sub-folder of Pickup writes: read, or every mistake is said. */
#include "config/folder_conf.h"

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf report = {0};
    struct folder_conf *conf = folder_conf_parse("sub", "sub/folder.conf", slice_make((const char *)data, size), &report);
    CHECK((conf == NULL) == (report.size > 0));
    folder_conf_destroy(&conf);
    buf_finish(&report);
    return 0;
}
