#include "terminal.h"

#include <stdlib.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { USUAL_COLUMNS = 80 };

size_t terminal_columns(void) {
    struct winsize size = {0};
    if (!isatty(STDOUT_FILENO)) {
        return 0;
    }
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : USUAL_COLUMNS;
}

bool terminal_utf8(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const char *v = getenv(names[i]), *dot;
        if (v && *v) { /* the first that is set counts */
            dot = v;
            while (*dot && *dot != '.') {
                dot++;
            }
            return strcasecmp(dot, ".utf-8") == 0 || strcasecmp(dot, ".utf8") == 0;
        }
    }
    return false;
}
