#include "time_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "text.h"

static bool to_tm(int64_t wall_ms, struct tm *out, int *ms) {
    int64_t s = wall_ms / 1000;
    *ms = (int)(wall_ms % 1000);
    if (*ms < 0) {
        *ms += 1000;
        s--;
    }
    time_t t = (time_t)s;
    return gmtime_r(&t, out) != NULL;
}

void text_rfc3339_format(int64_t wall_ms, char *out, size_t cap) {
    struct tm tm;
    int ms;
    if (!to_tm(wall_ms, &tm, &ms) || strftime(out, cap, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        out[0] = '\0';
    }
}

void time_text_ms(int64_t wall_ms, char *out, size_t cap) {
    struct tm tm;
    int ms;
    char day[32] = "";
    if (!to_tm(wall_ms, &tm, &ms) || strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        ms = 0;
    }
    (void)snprintf(out, cap, "%s.%03dZ", day, ms);
}

/* n digits at *s, -1 when they are not there. */
static int digits(const char **s, int n) {
    int v = 0;
    for (int i = 0; i < n; i++, (*s)++) {
        if (!isdigit((unsigned char)**s)) {
            return -1;
        }
        v = v * 10 + (**s - '0');
    }
    return v;
}

static bool eat(const char **s, char c) {
    if (**s != c) {
        return false;
    }
    (*s)++;
    return true;
}

/* "YYYY-MM-DDTHH:MM:SS" */
static bool read_moment(const char **s, struct tm *tm) {
    *tm = (struct tm){0};
    int year = digits(s, 4);
    bool ok = year >= 0 && eat(s, '-');
    int month = ok ? digits(s, 2) : -1;
    ok = ok && month >= 1 && month <= 12 && eat(s, '-');
    tm->tm_mday = ok ? digits(s, 2) : -1;
    ok = ok && tm->tm_mday >= 1 && tm->tm_mday <= 31 && (eat(s, 'T') || eat(s, 't'));
    tm->tm_hour = ok ? digits(s, 2) : -1;
    ok = ok && tm->tm_hour >= 0 && tm->tm_hour <= 23 && eat(s, ':');
    tm->tm_min = ok ? digits(s, 2) : -1;
    ok = ok && tm->tm_min >= 0 && tm->tm_min <= 59 && eat(s, ':');
    tm->tm_sec = ok ? digits(s, 2) : -1;
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    return ok && tm->tm_sec >= 0 && tm->tm_sec <= 60;
}

/* Fraction of a second to whole milliseconds; digits after the third only have to be digits. */
static bool read_fraction(const char **s, int *ms) {
    *ms = 0;
    if (!eat(s, '.')) {
        return true;
    }
    int weight = 100;
    const char *start = *s;
    for (; isdigit((unsigned char)**s); (*s)++) {
        *ms += weight * (**s - '0');
        weight /= 10;
    }
    return *s > start;
}

static bool read_zone(const char **s, int *minutes) {
    *minutes = 0;
    if (eat(s, 'Z') || eat(s, 'z')) {
        return true;
    }
    int sign = **s == '-' ? -1 : 1;
    if (!eat(s, '+') && !eat(s, '-')) {
        return false;
    }
    int h = digits(s, 2);
    int m = h >= 0 && h <= 23 && eat(s, ':') ? digits(s, 2) : -1;
    *minutes = sign * (h * 60 + m);
    return m >= 0 && m <= 59;
}

bool text_rfc3339(const char *s, int64_t *out_ms) {
    struct tm tm;
    int ms, zone;
    if (!s || !read_moment(&s, &tm) || !read_fraction(&s, &ms) || !read_zone(&s, &zone) || *s) {
        return false;
    }
    int day = tm.tm_mday;
    int64_t t = timegm(&tm);
    if (tm.tm_mday != day && tm.tm_sec < 59) {
        return false; /* 30 February and the like were normalised */
    }
    *out_ms = (t - (int64_t)zone * 60) * 1000 + ms;
    return true;
}
