/* dispatch: one IDispatch for all objects of CDONTS, over their tables of members.
 *
 * D1  DISPIDs are the tables' numbers; DISPID_VALUE is the default member
 * D2  the class's CLSID or, for objects that can't be made alone, none; GetTypeInfo has nothing to give
 * D3  an error is DISP_E_EXCEPTION with CDONTS's code in scode and its words in bstrDescription: Err.Number is that code */
#ifndef MR_CDONTS_WINDOWS_DISPATCH_H
#define MR_CDONTS_WINDOWS_DISPATCH_H

#include "cdonts/cdonts.h"

#include <stdbool.h>

#include <windows.h>
#include <ole2.h>

/* Takes the reference; NULL without memory. */
IDispatch *dispatch_create(struct cdonts_object *taken_object);
extern LONG dispatch_live_count; /* objects and locks: DllCanUnloadNow */

/* For Each over an object that has Count and Item. */
HRESULT enumerate(IDispatch *all, VARIANT *ret);

#endif
