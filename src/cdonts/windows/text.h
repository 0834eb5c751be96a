/* UTF-8 and UTF-16; heap copies, NULL without memory. An unpaired surrogate becomes U+FFFD. */
#ifndef MR_CDONTS_WINDOWS_TEXT_H
#define MR_CDONTS_WINDOWS_TEXT_H

#include <windows.h>

WCHAR *wide_of(const char *text);
char *utf8_of(const WCHAR *wide, int count);

#endif
