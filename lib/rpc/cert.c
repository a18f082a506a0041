#include "cert.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "../base/mem.h"
#include "rpc.h"

struct cert {
    struct cert *next;
    uv_mutex_t lock; /* of all below: fetch() runs on gRPC's threads */
    char *cert_pem, *key_pem;
    bool fresh; /* not fetched since it was set */
};

struct cert *cert_new(struct cert **list, const char *cert_pem, const char *key_pem) {
    struct cert *c = mem_alloc(sizeof *c);
    check(uv_mutex_init(&c->lock) == 0);
    c->next = *list;
    *list = c;
    cert_set(c, cert_pem, key_pem);
    return c;
}

void cert_set(struct cert *c, const char *cert_pem, const char *key_pem) {
    uv_mutex_lock(&c->lock);
    mem_set(&c->cert_pem, cert_pem);
    mem_set(&c->key_pem, key_pem);
    c->fresh = true;
    uv_mutex_unlock(&c->lock);
}

static grpc_ssl_certificate_config_reload_status fetch(void *user, grpc_ssl_server_certificate_config **out) {
    struct cert *c = user;
    grpc_ssl_certificate_config_reload_status status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    uv_mutex_lock(&c->lock);
    if (c->fresh) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = c->key_pem, .cert_chain = c->cert_pem};
        /* Clients are not asked for certificates, but gRPC insists on roots to check them with. */
        *out = grpc_ssl_server_certificate_config_create(c->cert_pem, &pair, 1);
        c->fresh = false;
        status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
    }
    uv_mutex_unlock(&c->lock);
    return status;
}

grpc_server_credentials *cert_credentials(struct cert *c) {
    grpc_ssl_server_credentials_options *o =
        grpc_ssl_server_credentials_create_options_using_config_fetcher(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, fetch, c);
    return grpc_ssl_server_credentials_create_with_options(o);
}

void cert_free_all(struct cert *list) {
    while (list != NULL) {
        struct cert *next = list->next;
        uv_mutex_destroy(&list->lock);
        free(list->cert_pem);
        if (list->key_pem != NULL) {
            OPENSSL_cleanse(list->key_pem, strlen(list->key_pem));
        }
        free(list->key_pem);
        free(list);
        list = next;
    }
}

bool rpc_cert_check(const char *cert_pem, const char *key_pem, struct err *err) {
    bool ok = false;
    BIO *cert_bio = BIO_new_mem_buf(cert_pem, -1), *key_bio = BIO_new_mem_buf(key_pem, -1);
    X509 *x = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
    if (x == NULL) {
        err_set(err, ERR_INVALID, "the certificate is no PEM text with a certificate in it");
    } else if (key == NULL) {
        err_set(err, ERR_INVALID, "the key is no PEM text with an unencrypted private key in it");
    } else if (X509_check_private_key(x, key) != 1) {
        err_set(err, ERR_INVALID, "the key does not belong to the certificate (were both files replaced?)");
    } else {
        ok = true;
    }
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(x);
    BIO_free(key_bio);
    BIO_free(cert_bio);
    return ok;
}
