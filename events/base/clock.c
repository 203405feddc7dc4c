/* Clocks, and RFC 3339 text by plain arithmetic on the proleptic Gregorian calendar: no time zone
 * data, no locale, no shared state. */
// SPDX-License-Identifier: Apache-2.0
#include "events/base/clock.h"

#include <time.h>

static int64_t now_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t wall_us(void)
{
    return now_us(CLOCK_REALTIME);
}

int64_t mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

int64_t mono_ms(void)
{
    return mono_us() / 1000;
}

#define DAY 86400
/* Days from 0000-03-01 to 1970-01-01; years are counted from March so that leap days come last. */
#define EPOCH_SHIFT 719468
#define DAYS_400_YEARS 146097

static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t shifted_month = (month + 9) % 12;
    int64_t day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    /* year ≥ 0 here: the least date is 0001-01-01. */
    return year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - EPOCH_SHIFT;
}

static void date_from_days(int64_t days, int *year, int *month, int *day)
{
    int64_t z = days + EPOCH_SHIFT;
    int64_t era = z / DAYS_400_YEARS; /* z ≥ 0 within the supported years */
    int64_t day_of_era = z - era * DAYS_400_YEARS;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    *month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    *year = (int)(year_of_era + era * 400 + (*month <= 2));
}

/* Writes value with exactly n digits; returns what follows. */
static char *put_digits(char *p, int value, int n)
{
    for (int i = n; i-- > 0; value /= 10) {
        p[i] = (char)('0' + value % 10);
    }
    return p + n;
}

void rfc3339_format(int64_t seconds, int32_t nanos, char out[static RFC3339_MAX])
{
    if (seconds < RFC3339_MIN_SECONDS) {
        seconds = RFC3339_MIN_SECONDS;
    }
    if (seconds > RFC3339_MAX_SECONDS) {
        seconds = RFC3339_MAX_SECONDS;
    }
    int64_t days = seconds / DAY, rest = seconds % DAY;
    if (rest < 0) {
        days--;
        rest += DAY;
    }
    int year, month, day, second = (int)rest;
    date_from_days(days, &year, &month, &day);
    const int parts[] = {year, month, day, second / 3600, second / 60 % 60, second % 60};
    static const char before[] = " --T::";
    char *p = put_digits(out, parts[0], 4);
    for (int i = 1; i < 6; i++) {
        *p++ = before[i];
        p = put_digits(p, parts[i], 2);
    }
    if (nanos > 0 && nanos <= 999999999) {
        *p++ = '.';
        p = nanos % 1000000 == 0 ? put_digits(p, nanos / 1000000, 3)
            : nanos % 1000 == 0  ? put_digits(p, nanos / 1000, 6)
                                 : put_digits(p, nanos, 9);
    }
    *p++ = 'Z';
    *p = '\0';
}

/* Takes exactly digits decimal digits off the front. */
static bool take_number(struct view *v, size_t digits, int *ret)
{
    if (v->n < digits) {
        return false;
    }
    int value = 0;
    for (size_t i = 0; i < digits; i++) {
        if (v->p[i] < '0' || v->p[i] > '9') {
            return false;
        }
        value = value * 10 + (v->p[i] - '0');
    }
    v->p += digits;
    v->n -= digits;
    *ret = value;
    return true;
}

/* Takes one character of set off the front. */
static bool take_char(struct view *v, const char *set, char *ret)
{
    if (!v->n || !v->p[0] || !strchr(set, v->p[0])) {
        return false;
    }
    *ret = v->p[0];
    v->p++;
    v->n--;
    return true;
}

/* One or more digits; those beyond nanoseconds are cut. */
static bool take_fraction(struct view *v, int32_t *ret_nanos)
{
    int32_t nanos = 0, weight = 100000000;
    size_t n = 0;
    for (; n < v->n && v->p[n] >= '0' && v->p[n] <= '9'; n++) {
        nanos += (v->p[n] - '0') * weight;
        weight /= 10;
    }
    v->p += n;
    v->n -= n;
    *ret_nanos = nanos;
    return n > 0;
}

static bool date_is_valid(int year, int month, int day)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1 || month < 1 || month > 12 || day < 1) {
        return false;
    }
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day <= lengths[month - 1] + (month == 2 && leap);
}

/* "Z", "+hh:mm" or "-hh:mm" and nothing behind it. */
static bool take_offset(struct view *v, int *ret_seconds)
{
    char c;
    int hour = 0, minute = 0;
    if (!take_char(v, "Zz+-", &c)) {
        return false;
    }
    if (c == '+' || c == '-') {
        char colon;
        if (!take_number(v, 2, &hour) || !take_char(v, ":", &colon) ||
            !take_number(v, 2, &minute) || hour > 23 || minute > 59) {
            return false;
        }
    }
    int seconds = hour * 3600 + minute * 60;
    *ret_seconds = c == '-' ? -seconds : seconds;
    return v->n == 0;
}

bool rfc3339_parse(struct view text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    struct view v = text;
    int year, month, day, hour, minute, second, offset;
    int32_t nanos = 0;
    char c;
    if (!take_number(&v, 4, &year) || !take_char(&v, "-", &c) || !take_number(&v, 2, &month) ||
        !take_char(&v, "-", &c) || !take_number(&v, 2, &day) || !take_char(&v, "Tt", &c) ||
        !take_number(&v, 2, &hour) || !take_char(&v, ":", &c) || !take_number(&v, 2, &minute) ||
        !take_char(&v, ":", &c) || !take_number(&v, 2, &second)) {
        return false;
    }
    if (take_char(&v, ".", &c) && !take_fraction(&v, &nanos)) {
        return false;
    }
    if (!take_offset(&v, &offset) || !date_is_valid(year, month, day) || hour > 23 || minute > 59 ||
        second > 60) {
        return false;
    }
    int64_t seconds =
        days_from_date(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
    /* A leap second stands only at the end of a UTC day; it counts as the second after. */
    if (second == 60 && seconds % DAY != 0) {
        return false;
    }
    if (seconds < RFC3339_MIN_SECONDS || seconds > RFC3339_MAX_SECONDS) {
        return false;
    }
    *ret_seconds = seconds;
    *ret_nanos = nanos;
    return true;
}
