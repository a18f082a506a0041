/* Private to the curl transport: one request as an easy handle, and the connection settings that all of them share. */
#pragma once

#include <curl/curl.h>
#include <time.h>

#include "../base/buf.h"
#include "kube.h"

struct curl_kube {
    struct kube kube;
    uv_loop_t *uv;
    CURLM *multi;
    struct timer timer;      /* libcurl's own */
    struct kube_call *calls; /* utlist */
    int64_t heard_ms;        /* last byte of any call */

    struct kube_config config;     /* owned copy */
    char *base;                    /* https://NAME:PORT[/PREFIX] */
    struct curl_slist *connect_to; /* when certificate name and address differ */

    char *token; /* from config.token_file */
    struct timespec token_mtime;
    int64_t token_read_ms; /* 0: read it again */
};

struct kube_call {
    struct curl_kube *owner;
    CURL *easy;
    struct curl_slist *headers;
    struct kube_handler handler;
    void *ctx;
    char *method, *path;
    struct buf in; /* body so far; of a stream: what was not handed on yet */
    int64_t started_ms, heard_ms, silence_ms;
    struct timer silence; /* streams only */
    CURLcode result;
    enum err_code forced; /* ended by us, not by libcurl */
    bool stream, opened, told_open, ended;
    char why[CURL_ERROR_SIZE];
    struct kube_call *prev, *next;
};

struct kube_call *curl_call_new(struct curl_kube *self, const struct kube_request *req, const struct kube_handler *h,
                                void *ctx);
/* The easy handle must be out of the multi handle. */
void curl_call_free(struct kube_call *c);
/* Fill the answer of an ended call; r borrows from c. */
void curl_call_result(struct kube_call *c, struct kube_response *r);
/* A status of 2xx has come. */
bool curl_call_good(const struct kube_call *c);
