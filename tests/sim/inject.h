/* The injector's answer to an AdmissionReview. */
#pragma once

#include <stddef.h>

/* Text of the answer, the caller's to free(); NULL: no AdmissionReview. */
char *inject_answer(const char *body, size_t len, const char *revision, const char *version);
