#!/bin/sh
# Makes the gate's certificate: an own CA, Secret meshgate-gate-tls (certificate and key), ConfigMap meshgate-gate-ca (the CA).
# Run it again to renew; then restart gate and agents. Needs openssl and kubectl.
#   NAMESPACE=istio-system DAYS=365 KUBECTL=kubectl deploy/make-certs.sh
set -eu
namespace=${NAMESPACE:-istio-system}
days=${DAYS:-365}
kubectl=${KUBECTL:-kubectl}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
umask 077
cd "$dir"

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

new_key ca.key
openssl req -x509 -new -key ca.key -subj "/CN=meshgate CA" -days "$days" -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
new_key tls.key
openssl req -new -key tls.key -subj "/CN=meshgate" -out tls.csr
cat >tls.ext <<EOF
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:meshgate.$namespace.svc,DNS:meshgate.$namespace.svc.cluster.local,DNS:meshgate.$namespace,DNS:meshgate
EOF
openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days "$days" -extfile tls.ext \
    -out tls.crt 2>/dev/null

$kubectl -n "$namespace" create secret tls meshgate-gate-tls --cert=tls.crt --key=tls.key --dry-run=client -o yaml |
    $kubectl apply --server-side --force-conflicts -f -
$kubectl -n "$namespace" create configmap meshgate-gate-ca --from-file=ca.crt=ca.crt --dry-run=client -o yaml |
    $kubectl apply --server-side --force-conflicts -f -
