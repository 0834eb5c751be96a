#include "outcome/name.h"

void outcome_name_clean(struct slice name, char ret_name[OUTCOME_NAME_SIZE_MAX + 1])
{
    size_t size = 0;
    for (size_t i = 0; i < name.size && size < OUTCOME_NAME_SIZE_MAX; i++) {
        unsigned char c = (unsigned char)name.data[i];
        bool is_fine = c > 0x20 && c != 0x7f && c != '/'
                       && !(size == 0 && (c == '.' || c == '-'));
        ret_name[size++] = is_fine ? (char)c : '_';
    }
    if (size == 0)
        ret_name[size++] = '_';
    ret_name[size] = '\0';
}
