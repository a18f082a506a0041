/*
 * A structural schema (openAPIV3Schema of a CRD) as the API server applies it: defaults, pruning, and the checks with the
 * server's wording. CEL rules are known by their text (schema_rules.c); a rule that is not known breaks the test.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

/* Fill defaults and drop fields that the schema does not name. In place. */
void schema_default(const json_t *schema, json_t *value);
void schema_prune(const json_t *schema, json_t *value);
/* Append {reason, message, field} of each fault to causes. */
void schema_check(const json_t *schema, const json_t *value, const char *path, json_t *causes);
void schema_fault(json_t *causes, const char *reason, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* CEL rules of the schema and all below it. */
void schema_check_rules(const json_t *schema, const json_t *value, const char *path, json_t *causes);
/* Every rule in the schema is one that we can evaluate; otherwise *unknown is its text (borrowed). */
bool schema_rules_known(const json_t *schema, const char **unknown);
