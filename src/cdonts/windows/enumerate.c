/* IEnumVARIANT over what has Count and Item: For Each in VBScript, Enumerator in JScript. Items are asked for one by one: what was deleted
 * meanwhile is passed over as CDONTS did, by its place. */
#define COBJMACROS
#include "cdonts/windows/dispatch.h"

#include <oleauto.h>
#include <stdlib.h>

struct enumerator {
    IEnumVARIANT com;
    LONG references;
    IDispatch *all;
    DISPID count, item;
    LONG place; /* of the next, from 1 */
};

static IEnumVARIANTVtbl vtable;

static struct enumerator *self_of(IEnumVARIANT *com)
{
    return (struct enumerator *)com;
}

static HRESULT find(IDispatch *all, const WCHAR *name, DISPID *ret_id)
{
    LPOLESTR names[] = {(LPOLESTR)(uintptr_t)name};
    return IDispatch_GetIDsOfNames(all, &IID_NULL, names, 1, LOCALE_USER_DEFAULT, ret_id);
}

static HRESULT create(IDispatch *all, LONG place, IEnumVARIANT **ret)
{
    struct enumerator *self = calloc(1, sizeof *self);
    *ret = NULL;
    if (!self)
        return E_OUTOFMEMORY;
    *self = (struct enumerator){.com.lpVtbl = &vtable, .references = 1, .all = all, .place = place};
    if (FAILED(find(all, L"Count", &self->count)) || FAILED(find(all, L"Item", &self->item))) {
        free(self);
        return DISP_E_MEMBERNOTFOUND;
    }
    IDispatch_AddRef(all);
    InterlockedIncrement(&dispatch_live_count);
    *ret = &self->com;
    return S_OK;
}

HRESULT enumerate(IDispatch *all, VARIANT *ret)
{
    IEnumVARIANT *made;
    HRESULT result = create(all, 1, &made);
    VariantInit(ret);
    if (SUCCEEDED(result)) {
        V_VT(ret) = VT_UNKNOWN;
        V_UNKNOWN(ret) = (IUnknown *)made;
    }
    return result;
}

static HRESULT STDMETHODCALLTYPE query(IEnumVARIANT *com, REFIID id, void **ret)
{
    if (!IsEqualIID(id, &IID_IUnknown) && !IsEqualIID(id, &IID_IEnumVARIANT)) {
        *ret = NULL;
        return E_NOINTERFACE;
    }
    *ret = com;
    InterlockedIncrement(&self_of(com)->references);
    return S_OK;
}

static ULONG STDMETHODCALLTYPE add_ref(IEnumVARIANT *com)
{
    return (ULONG)InterlockedIncrement(&self_of(com)->references);
}

static ULONG STDMETHODCALLTYPE release(IEnumVARIANT *com)
{
    struct enumerator *self = self_of(com);
    LONG left = InterlockedDecrement(&self->references);
    if (left == 0) {
        IDispatch_Release(self->all);
        free(self);
        InterlockedDecrement(&dispatch_live_count);
    }
    return (ULONG)left;
}

static LONG count_of(struct enumerator *self)
{
    VARIANT value;
    DISPPARAMS none = {0};
    VariantInit(&value);
    HRESULT result = IDispatch_Invoke(self->all, self->count, &IID_NULL, LOCALE_USER_DEFAULT, DISPATCH_PROPERTYGET, &none, &value, NULL, NULL);
    LONG count = SUCCEEDED(result) && V_VT(&value) == VT_I4 ? V_I4(&value) : 0;
    VariantClear(&value);
    return count;
}

static HRESULT STDMETHODCALLTYPE next(IEnumVARIANT *com, ULONG wanted, VARIANT *ret, ULONG *ret_count)
{
    struct enumerator *self = self_of(com);
    ULONG given = 0;
    while (given < wanted && self->place <= count_of(self)) {
        VARIANT place;
        V_VT(&place) = VT_I4;
        V_I4(&place) = self->place;
        DISPPARAMS parameters = {.rgvarg = &place, .cArgs = 1};
        VariantInit(&ret[given]);
        HRESULT result = IDispatch_Invoke(self->all, self->item, &IID_NULL, LOCALE_USER_DEFAULT, DISPATCH_PROPERTYGET | DISPATCH_METHOD,
                                          &parameters, &ret[given], NULL, NULL);
        self->place++;
        if (FAILED(result))
            break;
        given++;
    }
    if (ret_count)
        *ret_count = given;
    return given == wanted ? S_OK : S_FALSE;
}

static HRESULT STDMETHODCALLTYPE skip(IEnumVARIANT *com, ULONG count)
{
    struct enumerator *self = self_of(com);
    LONG left = count_of(self) - self->place + 1;
    bool is_enough = left >= 0 && count <= (ULONG)left;
    self->place += is_enough ? (LONG)count : left;
    return is_enough ? S_OK : S_FALSE;
}

static HRESULT STDMETHODCALLTYPE reset(IEnumVARIANT *com)
{
    self_of(com)->place = 1;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE copy(IEnumVARIANT *com, IEnumVARIANT **ret)
{
    return create(self_of(com)->all, self_of(com)->place, ret);
}

static IEnumVARIANTVtbl vtable = {query, add_ref, release, next, skip, reset, copy};
