/* cdonts.dll: the in-process server: class factories, and its registration.
 *
 *   regsvr32 cdonts.dll        HKCR: CDONTS.NewMail, CDONTS.Session (and .1), CLSID\{…}\InprocServer32
 *
 * ThreadingModel is Both: objects keep no globals; a script's apartment calls one at a time. */
#define COBJMACROS
#include "cdonts/windows/dispatch.h"

#include <stdbool.h>
#include <stdio.h>

/* The original's own: late-bound and early-bound callers find us under them. */
static const struct { CLSID id; const WCHAR *text; const WCHAR *name; const char *class; } classes[] = {
    {{0xAF0EB60E, 0x0775, 0x11D1, {0xA7, 0x7D, 0x00, 0xC0, 0x4F, 0xC2, 0xF5, 0xB3}},
     L"{AF0EB60E-0775-11D1-A77D-00C04FC2F5B3}", L"CDONTS.NewMail", "NewMail"},
    {{0x0E064AEC, 0x9D99, 0x11D0, {0xAB, 0xE5, 0x00, 0xAA, 0x00, 0x64, 0xD4, 0x70}},
     L"{0E064AEC-9D99-11D0-ABE5-00AA0064D470}", L"CDONTS.Session", "Session"},
};
enum { CLASS_COUNT = sizeof classes / sizeof classes[0], TEXT_MAX = 512 };

static HMODULE module;

BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved);
BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved)
{
    (void)reserved;
    if (reason == DLL_PROCESS_ATTACH) {
        module = instance;
        (void)DisableThreadLibraryCalls(instance);
    }
    return TRUE;
}

/* ---- factories: static, one a class ---- */

struct factory { IClassFactory com; const char *class; };

static HRESULT STDMETHODCALLTYPE query(IClassFactory *com, REFIID id, void **ret)
{
    bool is_ours = IsEqualIID(id, &IID_IUnknown) || IsEqualIID(id, &IID_IClassFactory);
    *ret = is_ours ? com : NULL;
    return is_ours ? S_OK : E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE keep(IClassFactory *com)
{
    (void)com;
    return 1;
}

static HRESULT STDMETHODCALLTYPE create(IClassFactory *com, IUnknown *outer, REFIID id, void **ret)
{
    struct cdonts_error error;
    *ret = NULL;
    if (outer)
        return CLASS_E_NOAGGREGATION;
    struct cdonts_object *object = cdonts_create(((struct factory *)com)->class, &error);
    IDispatch *dispatch = object ? dispatch_create(object) : NULL;
    if (!dispatch)
        return E_OUTOFMEMORY;
    HRESULT result = IDispatch_QueryInterface(dispatch, id, ret);
    IDispatch_Release(dispatch);
    return result;
}

static HRESULT STDMETHODCALLTYPE lock(IClassFactory *com, BOOL is_locked)
{
    (void)com;
    if (is_locked)
        InterlockedIncrement(&dispatch_live_count);
    else
        InterlockedDecrement(&dispatch_live_count);
    return S_OK;
}

static IClassFactoryVtbl factory_vtable = {query, keep, keep, create, lock};
static struct factory factories[CLASS_COUNT] = {{{&factory_vtable}, "NewMail"}, {{&factory_vtable}, "Session"}};

HRESULT WINAPI DllGetClassObject(REFCLSID class, REFIID id, void **ret)
{
    for (int i = 0; i < CLASS_COUNT; i++)
        if (IsEqualCLSID(class, &classes[i].id))
            return query(&factories[i].com, id, ret);
    *ret = NULL;
    return CLASS_E_CLASSNOTAVAILABLE;
}

HRESULT WINAPI DllCanUnloadNow(void)
{
    return dispatch_live_count == 0 ? S_OK : S_FALSE;
}

/* ---- registry ---- */

static HRESULT put(const WCHAR *path, const WCHAR *name, const WCHAR *value)
{
    HKEY key;
    LSTATUS status = RegCreateKeyExW(HKEY_CLASSES_ROOT, path, 0, NULL, 0, KEY_WRITE, NULL, &key, NULL);
    if (status == ERROR_SUCCESS) {
        status = RegSetValueExW(key, name, 0, REG_SZ, (const BYTE *)value, (DWORD)((wcslen(value) + 1) * sizeof *value));
        RegCloseKey(key);
    }
    return HRESULT_FROM_WIN32((DWORD)status);
}

static HRESULT put_class(int i, const WCHAR *file)
{
    WCHAR path[TEXT_MAX];
    HRESULT result = put(classes[i].name, NULL, classes[i].name);
    (void)_snwprintf(path, TEXT_MAX, L"%ls\\CLSID", classes[i].name);
    if (SUCCEEDED(result))
        result = put(path, NULL, classes[i].text);
    (void)_snwprintf(path, TEXT_MAX, L"%ls.1\\CLSID", classes[i].name);
    if (SUCCEEDED(result))
        result = put(path, NULL, classes[i].text);
    (void)_snwprintf(path, TEXT_MAX, L"CLSID\\%ls\\ProgID", classes[i].text);
    if (SUCCEEDED(result))
        result = put(path, NULL, classes[i].name);
    (void)_snwprintf(path, TEXT_MAX, L"CLSID\\%ls\\InprocServer32", classes[i].text);
    if (SUCCEEDED(result))
        result = put(path, NULL, file);
    return SUCCEEDED(result) ? put(path, L"ThreadingModel", L"Both") : result;
}

HRESULT WINAPI DllRegisterServer(void)
{
    WCHAR file[TEXT_MAX];
    HRESULT result = S_OK;
    DWORD size = GetModuleFileNameW(module, file, TEXT_MAX);
    if (size == 0 || size == TEXT_MAX)
        return E_FAIL;
    for (int i = 0; i < CLASS_COUNT && SUCCEEDED(result); i++)
        result = put_class(i, file);
    return result;
}

HRESULT WINAPI DllUnregisterServer(void)
{
    WCHAR path[TEXT_MAX];
    for (int i = 0; i < CLASS_COUNT; i++) { /* what isn't there needn't go */
        (void)RegDeleteTreeW(HKEY_CLASSES_ROOT, classes[i].name);
        (void)_snwprintf(path, TEXT_MAX, L"%ls.1", classes[i].name);
        (void)RegDeleteTreeW(HKEY_CLASSES_ROOT, path);
        (void)_snwprintf(path, TEXT_MAX, L"CLSID\\%ls", classes[i].text);
        (void)RegDeleteTreeW(HKEY_CLASSES_ROOT, path);
    }
    return S_OK;
}
