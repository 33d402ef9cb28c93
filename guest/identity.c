/* See identity.h. */
#define _GNU_SOURCE

#include "guest/identity.h"

#include "guest/pattern.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

uint64_t boot_id;

static struct {
    pthread_mutex_t lock;
    char text[TAG_BYTES];
} tag = {.lock = PTHREAD_MUTEX_INITIALIZER, .text = "-"};

/* A boot without entropy must not block; the clock then has to tell guests apart. */
void boot_id_make(void)
{
    if (getrandom(&boot_id, sizeof boot_id, GRND_NONBLOCK) == sizeof boot_id)
        return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    boot_id = mix((uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec);
}

bool tag_valid(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
            return false;
    return len > 0 && len < TAG_BYTES;
}

void tag_set(const char *text)
{
    pthread_mutex_lock(&tag.lock);
    snprintf(tag.text, sizeof tag.text, "%s", text);
    pthread_mutex_unlock(&tag.lock);
}

void tag_get(char out[TAG_BYTES])
{
    pthread_mutex_lock(&tag.lock);
    memcpy(out, tag.text, TAG_BYTES);
    pthread_mutex_unlock(&tag.lock);
}

uint64_t tag_salt(const char *text)
{
    uint64_t x = 0;
    while (*text)
        x = mix(x << 8 ^ (unsigned char)*text++ ^ x);
    return x;
}
