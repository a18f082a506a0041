#include "pki.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/mem.h"

struct pki_ca {
    X509 *cert;
    EVP_PKEY *key;
};

static char *from_bio(BIO *b) {
    char *p;
    long n = BIO_get_mem_data(b, &p);
    char *out = mem_alloc((size_t)n + 1);
    memcpy(out, p, (size_t)n);
    BIO_free(b);
    return out;
}

static char *cert_text(X509 *x) {
    BIO *b = BIO_new(BIO_s_mem());
    check(b && PEM_write_bio_X509(b, x) == 1);
    return from_bio(b);
}

static char *key_text(EVP_PKEY *k) {
    BIO *b = BIO_new(BIO_s_mem());
    check(b && PEM_write_bio_PrivateKey(b, k, NULL, NULL, 0, NULL, NULL) == 1);
    return from_bio(b);
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    check(e && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static X509 *blank(EVP_PKEY *key, const char *field, const char *value) {
    unsigned char serial[8];
    X509 *x = X509_new();
    check(x && RAND_bytes(serial, sizeof serial) == 1);
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 1);
    BIGNUM *n = BN_bin2bn(serial, sizeof serial, NULL);
    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
    BN_free(n);
    X509_set_version(x, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(x), -300);
    X509_gmtime_adj(X509_getm_notAfter(x), 10L * 365 * 86400);
    if (value) {
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0);
    }
    X509_set_pubkey(x, key);
    return x;
}

struct pki_ca *pki_ca_new(const char *organization) {
    struct pki_ca *ca = mem_alloc(sizeof *ca);
    ca->key = EVP_EC_gen("P-256");
    check(ca->key);
    ca->cert = blank(ca->key, "O", organization);
    X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert));
    extend(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE");
    extend(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    extend(ca->cert, ca->cert, NID_subject_key_identifier, "hash");
    check(X509_sign(ca->cert, ca->key, EVP_sha256()) > 0);
    return ca;
}

struct pki_ca *pki_ca_load(const char *cert_pem, const char *key_pem, struct err *err) {
    struct pki_ca *ca = mem_alloc(sizeof *ca);
    BIO *c = BIO_new_mem_buf(cert_pem, -1), *k = BIO_new_mem_buf(key_pem, -1);
    ca->cert = PEM_read_bio_X509(c, NULL, NULL, NULL);
    ca->key = PEM_read_bio_PrivateKey(k, NULL, NULL, NULL);
    BIO_free(c);
    BIO_free(k);
    if (!ca->cert || !ca->key || X509_check_private_key(ca->cert, ca->key) != 1) {
        err_set(err, ERR_INVALID, "certificate and key of the CA cannot be read or do not belong together");
        pki_ca_free(ca);
        return NULL;
    }
    return ca;
}

void pki_ca_free(struct pki_ca *ca) {
    if (ca) {
        X509_free(ca->cert);
        EVP_PKEY_free(ca->key);
        free(ca);
    }
}

char *pki_ca_cert(const struct pki_ca *ca) {
    return cert_text(ca->cert);
}

char *pki_ca_key(const struct pki_ca *ca) {
    return key_text(ca->key);
}

void pki_leaf(const struct pki_ca *ca, const char *common_name, const char *sans, bool rsa, char **cert_pem,
              char **key_pem) {
    EVP_PKEY *key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    check(key);
    X509 *x = blank(key, "CN", common_name);
    char *names = mem_printf("%s%s", common_name ? "" : "critical,", sans);
    X509_set_issuer_name(x, X509_get_subject_name(ca->cert));
    extend(x, ca->cert, NID_basic_constraints, "critical,CA:FALSE");
    extend(x, ca->cert, NID_key_usage, "critical,digitalSignature,keyEncipherment");
    extend(x, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth");
    extend(x, ca->cert, NID_subject_alt_name, names);
    check(X509_sign(x, ca->key, EVP_sha256()) > 0);
    *cert_pem = cert_text(x);
    *key_pem = key_text(key);
    free(names);
    X509_free(x);
    EVP_PKEY_free(key);
}

char *pki_base64(const char *text) {
    size_t n = strlen(text);
    char *out = mem_alloc(n / 3 * 4 + 8);
    EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n);
    return out;
}

char *pki_unbase64(const char *text) {
    size_t n = strlen(text);
    char *out = mem_alloc(n + 4);
    int len = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n);
    if (len < 0) {
        free(out);
        return NULL;
    }
    out[len] = 0; /* padding decodes to NULs before it */
    return out;
}
