/* Answers of the embedded istiod's xDS port as bytes. Each buf is initialised here; the caller's to buf_done(). */
#pragma once

#include "../../lib/base/buf.h"
#include "istiod.h"

/* Type istio.io/debug: one Any with the raw body. */
void ads_pack_debug(struct buf *b, bool delta, struct istiod *istiod, const char *name, const char *body, size_t len);
/* Type istio.io/debug/syncz: one ClientConfig a proxy; namespace_ NULL: all. */
void ads_pack_syncz(struct buf *b, bool delta, struct istiod *istiod, const char *namespace_);
/* No resource: what is asked for is not here. */
void ads_pack_nothing(struct buf *b, bool delta, struct istiod *istiod, const char *type_url);
/* A configuration of the type: names asked for, or the fixed ones of the type. poison: see ads_poison(). */
void ads_pack_push(struct buf *b, bool delta, const struct istiod_push *p, char *const *names, size_t n_names, bool poison);
