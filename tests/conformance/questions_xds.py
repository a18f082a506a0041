"""Questions to an istiod. A proxy of the asker's own namespace is not needed; what is compared are shapes, codes and texts."""
import re

from ask import scrub, shape

NODE = "sidecar~10.0.0.5~asker.istio-system~istio-system.svc.cluster.local"
CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"


def _nonce(text, version):
    """A nonce is the push version followed by 36 characters."""
    return bool(version) and text.startswith(version) and len(text) == len(version) + 36


def _answer(line):
    if "end" in line:
        return {"end": line["end"], "text": scrub(line["text"])}
    if "silent" in line:
        return {"silent": True}
    version = line["version"]
    return {"type": line["type"], "nonce": _nonce(line["nonce"], version), "version": bool(re.fullmatch(r"\S+Z/\d+", version)),
            "identifier": line["identifier"], "resources": len(line["resources"]),
            "resource_types": sorted({x["type_url"] for x in line["resources"]}),
            "text": [scrub(x["text"]).strip() for x in line["resources"] if "text" in x]}


def _talk(t, token="agent", namespace="istio-system", **flags):
    if token == "agent":
        token = t.token("istio-system", "default", "istio-ca")
    if namespace is not None:
        flags["namespace"] = namespace
    return t.xds(flags.pop("revision", t.asked), token=token, **flags)


def _told(t, **kw):
    return [_answer(line) for line in _talk(t, **kw)]


def _json(t, name, **kw):
    line = _talk(t, names=name, **kw)[0]
    return line["resources"][0].get("json") if line.get("resources") else None


def connections(t):
    body = _json(t, "connections")
    # A list per client; the asker is among them, with the counter behind its id.
    mine = [c for c in body["clients"] if re.fullmatch(r"asker\.istio-system-\d+", c["connectionId"])]
    return {"answer": [{k: v for k, v in _told(t, names="connections")[0].items()}], "keys": sorted(body), "client": shape(mine[0]),
            "total_is_length": body["totalClients"] == len(body["clients"]), "asker_listed": len(mine)}


def syncz_lists_the_asker(t):
    body = _json(t, "syncz")
    mine = [p for p in body if p["proxy"] == "asker.istio-system"]
    return {"asker": shape(mine), "is_list": isinstance(body, list)}


def syncz_of_no_namespace(t):
    line = _talk(t, names="syncz?namespace=no-such-namespace")[0]
    return {"json": line["resources"][0].get("json", "absent"), "resources": len(line["resources"])}


def name_unknown(t):
    return _told(t, names="nonsense")


def no_name(t):
    return _told(t)


def two_names(t):
    return _told(t, names="connections,syncz")


def adsz_without_proxy(t):
    return _told(t, names="adsz?proxyID=nobody.nowhere")


def config_dump_without_proxy(t):
    return _told(t, names="config_dump")


def protobuf_type_unknown(t):
    return _told(t, type="istio.io/debug/nonsense")


def protobuf_syncz(t):
    """Once, by hand: never asked by meshgate. The asker has no PROXY_CONFIG and is not listed."""
    line = _talk(t, type="istio.io/debug/syncz")[0]
    answer = _answer(line)
    return {k: answer[k] for k in ("type", "nonce", "version", "identifier")} | {
        "only": sorted(set(answer["resource_types"]) - {"type.googleapis.com/envoy.service.status.v3.ClientConfig"})}


def config_dump_of_nobody(t):
    return _told(t, type="istio.io/debug/config_dump", names="nobody.nowhere")


def ack_is_another_question(t):
    lines = _talk(t, names="syncz?namespace=no-such-namespace", ack=True, count=2)
    return {"answers": len([x for x in lines if "nonce" in x])}


def asked_again(t):
    lines = _talk(t, names="syncz?namespace=no-such-namespace", count=3)
    return {"answers": len([x for x in lines if "nonce" in x])}


def no_token(t):
    return _told(t, token=None, names="connections")


def nonsense_token(t):
    return _told(t, token="nonsense", names="connections")


def wrong_audience(t):
    return _told(t, token=t.token("istio-system", "default", "meshgate"), names="connections")


def foreign_namespace(t):
    return _told(t, token=t.token("default", "default", "istio-ca"), namespace="default",
                 node_id="sidecar~10.0.0.5~asker.default~default.svc.cluster.local", names="connections")


def foreign_namespace_syncz(t):
    return _told(t, token=t.token("default", "default", "istio-ca"), namespace="default",
                 node_id="sidecar~10.0.0.5~asker.default~default.svc.cluster.local", names="syncz")


def claims_another_namespace(t):
    return _told(t, token=t.token("default", "default", "istio-ca"), names="connections")


def claims_another_account(t):
    return _told(t, names="connections", account="somebody")


def says_its_account(t):
    return [a.get("resources") for a in _told(t, names="connections", account="default")]


def without_node(t):
    return _told(t, names="connections", no_node=True)


def node_without_address(t):
    return _told(t, names="connections", node_id="sidecar~~asker.istio-system~istio-system.svc.cluster.local")


def node_of_three_parts(t):
    return _told(t, names="connections", node_id="sidecar~10.0.0.5~asker.istio-system")


def node_of_unknown_type(t):
    return _told(t, names="connections", node_id="toaster~10.0.0.5~asker.istio-system~istio-system.svc.cluster.local")


def _quiet(t, **flags):
    """A talk that ends in silence. A push of something that changed meanwhile is no answer: then once more, a few times."""
    for _ in range(6):
        lines = _talk(t, type=CDS, namespace="istio-system", count=2, wait="1500ms", **flags)
        if "silent" in lines[-1]:
            break
    return lines


def clusters_are_pushed(t):
    """Ordinary xDS: an answer at once, a nonce made of the push version, no identifier since 1.25."""
    lines = _quiet(t, ack=True)
    first = _answer(lines[0])
    return {k: first[k] for k in ("type", "nonce", "version", "identifier")} | {"ack_unanswered": "silent" in lines[-1]}


def rejection_shows(t):
    """A NACK stays in syncz while the stream lives; here only that it is taken without an answer."""
    lines = _quiet(t, error="rejected by the asker")
    return {"silent_after": "silent" in lines[-1]}


def both_revisions_answer(t):
    return {rev: [a.get("resources") for a in _told(t, revision=rev, names="connections")] for rev in sorted(t.istiods)}


QUESTIONS = [connections, syncz_lists_the_asker, syncz_of_no_namespace, name_unknown, no_name, two_names, adsz_without_proxy,
             config_dump_without_proxy, protobuf_type_unknown, protobuf_syncz, config_dump_of_nobody, ack_is_another_question,
             asked_again, no_token, nonsense_token, wrong_audience, foreign_namespace, foreign_namespace_syncz,
             claims_another_namespace, claims_another_account, says_its_account, without_node, node_without_address,
             node_of_three_parts, node_of_unknown_type, clusters_are_pushed, rejection_shows, both_revisions_answer]
