/* For cppcheck, which can't see through the loops of uthash and jansson (tests/lint). */
#define HASH_ITER(hh, head, el, tmp) \
    for ((el) = (head), (tmp) = (head) ? (head)->hh.next : 0; (el); (el) = (tmp), (tmp) = (tmp) ? (tmp)->hh.next : 0)
#define json_array_foreach(array, index, value) \
    for ((index) = 0; (index) < json_array_size(array) && ((value) = json_array_get(array, index)) != 0; (index)++)
#define json_object_foreach(object, key, value) \
    for ((key) = json_object_iter_key(json_object_iter(object)); (key) && ((value) = json_object_get(object, key)) != 0; \
         (key) = json_object_iter_key(json_object_iter_next(object, json_object_key_to_iter(key))))
