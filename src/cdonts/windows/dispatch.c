#define COBJMACROS
#include "cdonts/windows/dispatch.h"

#include "cdonts/windows/text.h"

#include <oleauto.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARGUMENTS_MAX = 16, STREAM_CHUNK = 65536, STREAM_MAX = 1 << 30 };

LONG dispatch_live_count;

struct dispatch {
    IDispatch com;
    LONG references;
    struct cdonts_object *object;
};

static IDispatchVtbl vtable;

IDispatch *dispatch_create(struct cdonts_object *taken_object)
{
    struct dispatch *self = calloc(1, sizeof *self);
    if (!self) {
        cdonts_release(taken_object);
        return NULL;
    }
    self->com.lpVtbl = &vtable;
    self->references = 1;
    self->object = taken_object;
    InterlockedIncrement(&dispatch_live_count);
    return &self->com;
}

static struct dispatch *self_of(IDispatch *com)
{
    return (struct dispatch *)com;
}

static HRESULT STDMETHODCALLTYPE query(IDispatch *com, REFIID id, void **ret)
{
    if (!IsEqualIID(id, &IID_IUnknown) && !IsEqualIID(id, &IID_IDispatch)) {
        *ret = NULL;
        return E_NOINTERFACE;
    }
    *ret = com;
    InterlockedIncrement(&self_of(com)->references);
    return S_OK;
}

static ULONG STDMETHODCALLTYPE add_ref(IDispatch *com)
{
    return (ULONG)InterlockedIncrement(&self_of(com)->references);
}

static ULONG STDMETHODCALLTYPE release(IDispatch *com)
{
    struct dispatch *self = self_of(com);
    LONG left = InterlockedDecrement(&self->references);
    if (left == 0) {
        cdonts_release(self->object);
        free(self);
        InterlockedDecrement(&dispatch_live_count);
    }
    return (ULONG)left;
}

static HRESULT STDMETHODCALLTYPE type_info_count(IDispatch *com, UINT *ret_count)
{
    (void)com;
    *ret_count = 0;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE type_info(IDispatch *com, UINT index, LCID locale, ITypeInfo **ret)
{
    (void)com;
    (void)index;
    (void)locale;
    *ret = NULL;
    return DISP_E_BADINDEX;
}

static HRESULT STDMETHODCALLTYPE ids_of_names(IDispatch *com, REFIID id, LPOLESTR *names, UINT count, LCID locale, DISPID *ret_ids)
{
    HRESULT result = S_OK;
    (void)id;
    (void)locale;
    for (UINT i = 0; i < count; i++) {
        char *name = i == 0 ? utf8_of(names[i], (int)wcslen(names[i])) : NULL;
        bool is_enumeration = name && _stricmp(name, "_NewEnum") == 0;
        int member = name && !is_enumeration ? cdonts_member_find(self_of(com)->object, name) : -1;
        ret_ids[i] = is_enumeration ? DISPID_NEWENUM : member < 0 ? DISPID_UNKNOWN : member;
        if (member < 0 && !is_enumeration)
            result = DISP_E_UNKNOWNNAME;
        free(name);
    }
    return result;
}

/* ---- VARIANT in ---- */

static HRESULT bytes_of_stream(IUnknown *unknown, struct cdonts_value *value)
{
    IStream *stream;
    char *bytes = NULL;
    size_t size = 0;
    ULONG got = 0;
    HRESULT result = IUnknown_QueryInterface(unknown, &IID_IStream, (void **)&stream);
    if (FAILED(result))
        return DISP_E_TYPEMISMATCH;
    do {
        char *larger = size < STREAM_MAX ? realloc(bytes, size + STREAM_CHUNK) : NULL;
        if (!larger) {
            result = E_OUTOFMEMORY;
            break;
        }
        bytes = larger;
        result = IStream_Read(stream, bytes + size, STREAM_CHUNK, &got);
        size += got;
    } while (SUCCEEDED(result) && got);
    IStream_Release(stream);
    *value = (struct cdonts_value){.kind = CDONTS_BYTES, .text = bytes, .size = size};
    return FAILED(result) ? result : S_OK;
}

static HRESULT bytes_of_array(SAFEARRAY *array, struct cdonts_value *value)
{
    LONG low, high;
    void *data;
    if (!array || SafeArrayGetDim(array) != 1 || SafeArrayGetElemsize(array) != 1
        || FAILED(SafeArrayGetLBound(array, 1, &low)) || FAILED(SafeArrayGetUBound(array, 1, &high)))
        return DISP_E_TYPEMISMATCH;
    size_t size = high >= low ? (size_t)(high - low) + 1 : 0;
    char *bytes = malloc(size + 1);
    if (!bytes || FAILED(SafeArrayAccessData(array, &data))) {
        free(bytes);
        return E_OUTOFMEMORY;
    }
    memcpy(bytes, data, size);
    SafeArrayUnaccessData(array);
    *value = (struct cdonts_value){.kind = CDONTS_BYTES, .text = bytes, .size = size};
    return S_OK;
}

/* 30 December 1899, in days, to Unix milliseconds. */
static const double days_before_unix = 25569.0, ms_per_day = 86400000.0;

static HRESULT value_of_text(const WCHAR *wide, int size, struct cdonts_value *value)
{
    char *text = utf8_of(wide, size);
    if (!text)
        return E_OUTOFMEMORY;
    *value = (struct cdonts_value){.kind = CDONTS_STRING, .text = text};
    /* A NUL inside stays inside: the member refuses it. */
    value->size = size ? (size_t)WideCharToMultiByte(CP_UTF8, 0, wide, size, NULL, 0, NULL, NULL) : 0;
    return S_OK;
}

static HRESULT value_of(VARIANT *variant, struct cdonts_value *value)
{
    VARIANT plain;
    VariantInit(&plain);
    HRESULT result = VariantCopyInd(&plain, variant);
    if (FAILED(result))
        return result;
    *value = (struct cdonts_value){0};
    switch (V_VT(&plain)) {
    case VT_EMPTY:
    case VT_NULL:
    case VT_ERROR: /* an argument left out */
        break;
    case VT_BSTR:
        result = value_of_text(V_BSTR(&plain), (int)SysStringLen(V_BSTR(&plain)), value);
        break;
    case VT_DATE:
        *value = (struct cdonts_value){.kind = CDONTS_TIME,
                                       .number = (int64_t)((V_DATE(&plain) - days_before_unix) * ms_per_day)};
        break;
    case VT_DISPATCH:
    case VT_UNKNOWN:
        if (V_UNKNOWN(&plain) && FAILED(bytes_of_stream(V_UNKNOWN(&plain), value))) {
            VARIANT text; /* an object stands for its default property, as Request.Form("x") does */
            VariantInit(&text);
            result = VariantChangeType(&text, &plain, 0, VT_BSTR);
            if (SUCCEEDED(result))
                result = value_of_text(V_BSTR(&text), (int)SysStringLen(V_BSTR(&text)), value);
            VariantClear(&text);
        }
        break;
    case VT_ARRAY | VT_UI1:
        result = bytes_of_array(V_ARRAY(&plain), value);
        break;
    default:
        result = VariantChangeType(&plain, &plain, 0, VT_I4);
        if (SUCCEEDED(result))
            *value = (struct cdonts_value){.kind = CDONTS_NUMBER, .number = V_I4(&plain)};
        break;
    }
    VariantClear(&plain);
    return result;
}

/* ---- VARIANT out ---- */

static HRESULT give_bytes(const struct cdonts_value *value, VARIANT *ret)
{
    void *data;
    SAFEARRAY *array = SafeArrayCreateVector(VT_UI1, 0, (ULONG)value->size);
    if (!array || FAILED(SafeArrayAccessData(array, &data)))
        return E_OUTOFMEMORY;
    memcpy(data, value->text, value->size);
    SafeArrayUnaccessData(array);
    V_VT(ret) = VT_ARRAY | VT_UI1;
    V_ARRAY(ret) = array;
    return S_OK;
}

static HRESULT give(struct cdonts_value *value, VARIANT *ret)
{
    WCHAR *wide;
    VariantInit(ret);
    switch (value->kind) {
    case CDONTS_NUMBER:
        V_VT(ret) = VT_I4;
        V_I4(ret) = (LONG)value->number;
        return S_OK;
    case CDONTS_STRING:
        wide = wide_of(value->text);
        V_VT(ret) = VT_BSTR;
        V_BSTR(ret) = wide ? SysAllocString(wide) : NULL;
        free(wide);
        return V_BSTR(ret) ? S_OK : E_OUTOFMEMORY;
    case CDONTS_BYTES:
        return give_bytes(value, ret);
    case CDONTS_REFERENCE: /* Nothing is an object too */
        V_VT(ret) = VT_DISPATCH;
        V_DISPATCH(ret) = value->object ? dispatch_create(value->object) : NULL;
        value->object = NULL;
        return S_OK;
    case CDONTS_TIME:
        V_VT(ret) = VT_DATE;
        V_DATE(ret) = (double)value->number / ms_per_day + days_before_unix;
        return S_OK;
    case CDONTS_EMPTY:
        return S_OK;
    }
    return E_UNEXPECTED;
}

static HRESULT complain(const struct cdonts_error *error, EXCEPINFO *exception)
{
    if (!exception)
        return (HRESULT)error->code;
    WCHAR *words = wide_of(error->text);
    *exception = (EXCEPINFO){.scode = (SCODE)error->code, .bstrSource = SysAllocString(L"CDONTS")};
    exception->bstrDescription = words ? SysAllocString(words) : NULL;
    free(words);
    return DISP_E_EXCEPTION;
}

/* COM's arguments stand last first; of a property put the value is the first. */
static HRESULT read_arguments(const DISPPARAMS *parameters, struct cdonts_value *values, size_t *ret_count)
{
    HRESULT result = S_OK;
    *ret_count = parameters->cArgs;
    if (parameters->cArgs > ARGUMENTS_MAX)
        return DISP_E_BADPARAMCOUNT;
    for (UINT i = 0; i < parameters->cArgs && SUCCEEDED(result); i++)
        result = value_of(&parameters->rgvarg[parameters->cArgs - 1 - i], &values[i]);
    return result;
}

static HRESULT STDMETHODCALLTYPE invoke(IDispatch *com, DISPID member, REFIID id, LCID locale, WORD flags,
                                        DISPPARAMS *parameters, VARIANT *ret, EXCEPINFO *exception, UINT *ret_bad)
{
    struct cdonts_value values[ARGUMENTS_MAX] = {0}, result = {0};
    struct cdonts_error error = {0};
    size_t count;
    (void)id;
    (void)locale;
    (void)ret_bad;
    if (member == DISPID_NEWENUM)
        return ret ? enumerate(com, ret) : E_POINTER;
    unsigned access = (flags & DISPATCH_METHOD ? CDONTS_CALL : 0u) | (flags & DISPATCH_PROPERTYGET ? CDONTS_GET : 0u)
                      | (flags & (DISPATCH_PROPERTYPUT | DISPATCH_PROPERTYPUTREF) ? CDONTS_PUT : 0u);
    if (access == CDONTS_CALL)
        access |= CDONTS_GET; /* JScript calls obj.Item(1) as a method */
    if (!cdonts_member_name(self_of(com)->object, (int)member))
        return DISP_E_MEMBERNOTFOUND;
    HRESULT code = read_arguments(parameters, values, &count);
    if (SUCCEEDED(code)) {
        uint32_t done = cdonts_invoke(self_of(com)->object, (int)member, access, values, count, &result, &error);
        error.code = done;
        code = done != CDONTS_OK ? complain(&error, exception) : ret ? give(&result, ret) : S_OK;
    }
    for (size_t i = 0; i < ARGUMENTS_MAX; i++)
        cdonts_value_clear(&values[i]);
    cdonts_value_clear(&result);
    return code;
}

static IDispatchVtbl vtable = {query, add_ref, release, type_info_count, type_info, ids_of_names, invoke};
