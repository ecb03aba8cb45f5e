"""The report of an audit: plain data, the page made of it, and who signed it."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import audits
from support.agreements import identity_of, member, noised, plain_agreement
from support.ledgers import genuine, small_federation

from protocols.agreement import agreement_from
from protocols.errors import AgreementError, InputError, LedgerError
from protocols.identity import Identity
from protocols.ledger.audit import audit
from protocols.ledger.facts import Finding
from securefed.audit import charts
from securefed.audit.canary import Canary, read_canary
from securefed.audit.html import render
from securefed.audit.matrix import MOST_COLUMNS, matrix
from securefed.audit.participation import LEGEND
from securefed.audit.report import report
from securefed.audit.signing import DOMAIN, canonical, check_report, sign_report
from securefed.audit.words import best_guess, chance, clean, instant, percent, ranges
from securefed.privacy import audit_canaries

HOSTILE = """<script>alert(1)</script>"><img src=x onerror=alert(2)>'{{7*7}}{% raw %}&lt;"""
CANARY = Canary(1.5, 2.5, 1e-5, 0.95, 100_032, 1000, 600)


def told(result: Any, **source: Any) -> dict[str, Any]:
    return report(result, replace(audits.SOURCE, **source))


RESULTS = {
    "verified": audits.verified,
    "incomplete": audits.incomplete,
    "failed": audits.failed,
    "unreadable": audits.unreadable,
    "without noise": lambda: audits.verified(noise=False),
    "encrypted": lambda: audits.encrypted_run("paillier", "dealer"),
    "encrypted without noise": lambda: audits.encrypted_run("paillier", "dealer", noise=False),
    "masked and encrypted": lambda: audits.encrypted_run("layered", "dealer"),
    "with a key holder": lambda: audits.encrypted_run("layered", "key_holder", noise=False),
    "genuine": lambda: audit(genuine()),
    "genuine without noise": lambda: audit(genuine(noise=False)),
    "genuine beginning": lambda: audit(genuine()[:17]),
    "nothing but an agreement": lambda: audit(genuine()[:1]),
    "empty": lambda: audit(()),
    "fault in the middle": lambda: audit((*genuine()[:30], *genuine()[31:])),
    "fault at leaf 0": lambda: audit((b"no leaf",)),
}


@pytest.fixture(params=RESULTS, ids=lambda name: name)
def any_report(request: pytest.FixtureRequest) -> dict[str, Any]:
    return told(RESULTS[request.param]())


class Page(HTMLParser):
    """What a browser would make of a page: elements in balance, their attributes, the text."""

    VOID = frozenset({"meta", "rect", "circle", "path", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


# Plain data


def test_every_report_is_json_with_finite_numbers_only(any_report):
    text = json.dumps(any_report, allow_nan=False)
    assert json.loads(text) == json.loads(canonical(any_report))


def test_the_fourteen_questions_of_a_reviewer_are_answered_or_said_to_be_open(any_report):
    items = any_report["checklist"]
    assert [one["number"] for one in items] == list(range(1, 15))
    assert all(one["answer"] and all(one["answer"]) for one in items)
    states = {one["number"]: one["state"] for one in items}
    assert states[13] == "not recorded"
    assert states[12] in {"not measured", "not recorded"}


def test_a_report_states_what_the_rounds_cost_whom():
    result = audits.verified()
    found = told(result)
    spent, total = found["privacy"], result.total
    assert spent["epsilon_pld"] == total.epsilon_pld
    assert spent["epsilon_rdp"] == total.epsilon_rdp
    assert spent["delta"] == total.delta
    assert spent["budget"]["left"] == pytest.approx(3 - total.epsilon_pld)
    assert [one["party"] for one in spent["parties"]] == [f"party-{n}" for n in range(5)]
    assert spent["curve"][-1] == [70, pytest.approx(total.epsilon_pld)]
    assert all(one["software"] for one in spent["accountants"])
    assert {one["delta"]: one for one in spent["curve_over_delta"]}[1e-5]["epsilon_rdp"] == (
        pytest.approx(total.epsilon_rdp)
    )
    noise = {one["task"]: one for one in spent["tasks"]}
    assert noise["risk-score"]["noise_multiplier"] == 4.2
    assert noise["risk-score"]["rounds_run"] == 40
    assert noise["risk-score"]["rounds_completed"] == 39
    counted = {(one["task"], one["output"]): one["count"] for one in found["releases"]}
    assert counted["network", "clip-indicator"] == counted["network", "sum"] == 28


def test_a_worst_case_without_bound_is_said_and_is_no_number():
    spent = told(replace(audits.verified(), worst_case=math.inf))["privacy"]
    assert spent["worst_case"] == {"epsilon": None, "bounded": False}
    page = render(told(replace(audits.verified(), worst_case=math.inf)))
    assert "no bound" in page


def test_what_fails_claims_nothing_but_says_what_the_sound_rounds_cost():
    found = told(audits.failed())
    assert {card["big"] for card in found["cards"]} == {"not established"}
    assert found["privacy"]["whole"] is False
    assert 0 < found["privacy"]["epsilon_pld"] < audits.verified().total.epsilon_pld
    assert {one["outcome"] for one in found["transcript"]} <= {"stopped", "not done"}


def test_every_letter_of_the_participation_matrix_is_what_the_ledger_says():
    result = audits.verified()
    took = told(result)["participation"]
    assert set("".join(took["matrix"].values())) == set(LEGEND)
    for number, name in enumerate(took["matrix"]):
        for one, letter in zip(result.rounds, took["matrix"][name], strict=True):
            expected = {
                "s": number in one.survivors,
                "c": number in one.committed and number not in one.survivors,
                "l": number in one.late,
                "i": number in one.invited and number not in (*one.committed, *one.late),
                "-": number not in one.invited,
            }
            assert expected[letter]
    rows = took["parties"]
    assert all(
        one["in_sum"] + one["left_out"] + one["silent"] + one["not_invited"] == 70 for one in rows
    )
    assert [one["round"] for one in took["aborted"]] == [23, 46, 69]


def test_a_report_of_a_genuine_ledger_agrees_with_what_was_played():
    found = told(audit(genuine(), agreement_digest=small_federation().digest))
    assert found["verdict"]["verdict"] == "verified"
    assert found["verdict"]["anchored"]
    assert found["participation"]["matrix"]["party-2"] == "sicss"
    assert found["participation"]["matrix"]["party-4"] == "sslss"
    assert found["participation"]["matrix"]["party-0"] == "ssc-s"
    assert found["ledger"]["leaves"] == len(genuine())


def test_the_guide_explains_every_field_of_a_report_and_no_other():
    guide = (Path(__file__).parent.parent / "docs" / "audit.md").read_text(encoding="utf-8")
    table = guide[guide.index("| field | holds |") :].splitlines()[2:]
    named = [re.findall(r"`(\w+)`", line.split(" | ")[0]) for line in table if line.startswith("|")]
    assert {name for names in named for name in names} == set(told(audits.verified()))


# Words


@given(epsilon=st.floats(0, 1000), delta=st.floats(0, 0.5))
@settings(max_examples=50)
def test_the_best_guess_is_between_a_coin_and_certainty_and_grows(epsilon, delta):
    rate = best_guess(epsilon, delta)
    assert 0.5 <= rate <= 1
    assert rate <= best_guess(epsilon + 0.1, delta)
    assert rate <= best_guess(epsilon, delta + 0.1)
    shown = percent(rate)
    assert shown == "practically 100%" or float(shown.removesuffix("%")) / 100 >= rate - 1e-12


def test_the_best_guess_is_the_known_one():
    assert best_guess(0, 0) == 0.5
    assert best_guess(math.log(3), 0) == pytest.approx(0.75)
    assert best_guess(0, 0.1) == pytest.approx(0.55)
    assert best_guess(math.inf, 0) == 1


@given(st.sets(st.integers(1, 60)))
@settings(max_examples=50)
def test_ranges_name_exactly_their_numbers(numbers):
    found: set[int] = set()
    for part in filter(None, ranges(sorted(numbers)).split(", ")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    assert found == numbers


def test_absurd_times_and_texts_stay_one_printable_line():
    assert instant(1_800_000_000) == "2027-01-15 08:00:00Z"
    assert instant(2**63 - 1) == f"{2**63 - 1} s"
    assert clean("a\x1b[31m\nb\u202e" + "c" * 2000)[:9] == "a?[31m?b?"
    assert len(clean("c" * 2000)) == 1000
    assert chance(1e-5) == "1 in 100,000"


# The page


def test_no_page_loads_anything_or_holds_a_script(any_report):
    page = render(any_report)
    parsed = Page(page)
    assert not parsed.all("script")
    for tag, attributes in parsed.elements:
        assert tag not in {"img", "link", "iframe", "object", "embed", "form", "base", "use"}
        for name, value in attributes.items():
            assert not name.startswith("on"), name
            assert name not in {"src", "srcset", "action", "data", "style", "xlink:href"}
            if name == "href":
                assert (value or "").startswith("#")
    assert not re.search(r"url\(|@import|https?:|//[a-z]", page)
    [policy] = [
        one["content"]
        for one in parsed.all("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    assert (policy or "").startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "script" not in (policy or "")


def test_the_first_words_of_a_page_are_the_verdict_and_four_cards(any_report):
    parsed = Page(render(any_report))
    verdict = any_report["verdict"]
    words = parsed.text[: parsed.text.index("Findings and warnings")]
    assert verdict["headline"] in words
    for card in any_report["cards"]:
        assert card["title"] in words
        assert card["big"] in words
    if verdict["failure"]:
        assert verdict["failure"]["reason"] in words
    assert ("No trust anchor was given" in words) is not verdict["anchored"]


def test_a_page_names_leaf_round_and_party_of_the_first_fault():
    words = Page(render(told(audits.failed()))).text
    assert "commit-missing (leaf 131, round 12, south)" in words


def test_without_noise_the_page_says_so_before_anything_else_could_reassure():
    words = Page(render(told(audits.verified(noise=False)))).text
    assert "No differential privacy." in words[: words.index("Findings and warnings")]


@pytest.mark.parametrize("noise", [True, False])
def test_masks_are_named_exactly_where_there_are_any(noise):
    def words(result):
        found = told(result)
        page = render(found)
        return json.dumps(found).lower() + page[page.index("<body>") :].lower()

    assert "mask" not in words(audits.encrypted_run("paillier", "dealer", noise=noise))
    for who in ("dealer", "key_holder"):
        both = words(audits.encrypted_run("layered", who, noise=noise))
        assert "masks and the paillier key, both" in both
        assert "the masks hold, or else the key does" in both
    alone = words(audits.verified(noise=noise))
    assert "takes breaking masks" in alone
    assert not re.search("paillier|dealer|key holder|encrypt", alone)


@pytest.mark.parametrize("mode", ["paillier", "layered"])
def test_what_a_dealt_key_rests_on_is_assumed_in_words(mode):
    found = told(audits.encrypted_run(mode, "dealer"))
    assumed = found["protection"]["assumptions"][-1]
    assert "dealer has forgotten it, fewer than 4 companies pool their shares" in assumed
    later = [one for one in found["not_claimed"] if "stay secret for ever" in one]
    assert len(later) == (mode == "paillier")


def test_hostile_text_is_shown_and_never_becomes_markup():
    # Longer and stranger than the formats allow: the page does not rely on them.
    finding = Finding(HOSTILE, HOSTILE, 1, 1, HOSTILE)
    result = audits.verified()
    bad = replace(result.rounds[22], reason=HOSTILE, step=HOSTILE, task=HOSTILE, outputs=(HOSTILE,))
    rounds = (*result.rounds[:22], bad, *result.rounds[23:])
    rounds = tuple(replace(one, software=(HOSTILE,)) for one in rounds)
    result = replace(
        result,
        verdict="failed",
        failure=finding,
        warnings=(finding,) * 2,
        rounds=rounds,
        total=None,
    )
    result = replace(result, total=audits.verified().total)
    found = told(result, name=HOSTILE)
    page = render(found)
    parsed = Page(page)
    assert {tag for tag, _ in parsed.elements} == {
        tag for tag, _ in Page(render(told(audits.failed()))).elements
    } | {"a", "details", "summary"}
    assert parsed.text.count(HOSTILE) >= 6
    assert "49" not in re.findall(r"\{\{.*?\}\}|(?<=')49", parsed.text)


def test_every_link_leads_to_a_place_on_the_page_and_no_id_is_twice(any_report):
    parsed = Page(render(any_report))
    ids = [a["id"] for _, a in parsed.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {(one["href"] or "").removeprefix("#") for one in parsed.all("a")}
    assert targets <= set(ids)
    named = [a[key] for _, a in parsed.elements for key in ("aria-labelledby",) if key in a]
    assert {one for each in named for one in (each or "").split()} <= set(ids)


def test_pictures_have_names_and_tables_have_headings():
    page = render(told(audits.verified()))
    parsed = Page(page)
    for svg in parsed.all("svg"):
        assert svg.get("aria-hidden") == "true" or svg.get("role") == "img"
    pictures = re.findall(r'<svg[^>]*role="img"[^>]*>\s*(<title)', page)
    assert len(pictures) == len([one for one in parsed.all("svg") if one.get("role") == "img"])
    for table in re.findall(r"<table.*?</table>", page, flags=re.DOTALL):
        assert 'scope="col"' in table
    assert parsed.all("html")[0]["lang"] == "en"
    assert len(parsed.all("h1")) == 1


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("mode", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_the_contrast_that_accessibility_asks_for(mode):
    page = render(told(audits.verified()))
    root = re.findall(r":root \{(.*?)\}", page, flags=re.DOTALL)[mode]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", root))
    pairs = [(ink, "page") for ink in ("ink", "soft", "link", "good", "wait", "bad")]
    pairs += [("ink", "card"), ("soft", "card"), ("ink", "good-back"), ("ink", "wait-back")]
    pairs += [("ink", "bad-back"), ("good", "good-back"), ("wait", "wait-back")]
    pairs += [("bad", "bad-back"), ("link", "good-back"), ("link", "wait-back")]
    for ink, paper in pairs:
        dark, light = sorted((luminance(colours[ink]), luminance(colours[paper])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


def test_pages_stay_small_for_seventy_rounds_and_for_a_thousand_with_a_hundred_parties():
    assert len(render(told(audits.verified()))) < 300_000
    large = told(audits.verified(100, (1000,)))
    assert len(render(large)) < 3_000_000
    picture = matrix(large)
    assert picture is not None
    assert picture.columns == 1000
    assert picture.rounds_a_column == 1


def test_ten_thousand_rounds_are_drawn_in_columns_that_hide_no_silence():
    found = told(audits.verified())
    took = found["participation"]
    took["rounds"] = list(range(1, 10_001))
    took["outcomes"] = "s" * 9_999 + "a"
    took["matrix"] = dict.fromkeys(took["matrix"], "s" * 5000 + "i" + "s" * 4999)
    picture = matrix(found)
    assert picture is not None
    assert (picture.columns, picture.rounds_a_column) == (MOST_COLUMNS, 10)
    assert dict(picture.rows[0].paths)["silent"] == "M500 .5h1"
    assert dict(picture.outcomes)["aborted"] == "M999 .5h1"


def test_no_absurd_number_leaves_the_frame_of_a_chart():
    found = told(audits.verified())
    for one in found["rounds"][:10]:
        one["noise_meter"] = 1e300
    found["rounds"][10]["noise_meter"] = 0.0
    found["privacy"]["meter"]["alarms"] = list(range(1, 12))
    for chart in (charts.meter_chart(found), charts.epsilon_chart(found), charts.clip_chart(found)):
        assert chart is not None
        for line in chart.lines:
            for x, y in re.findall(r"([\d.]+) ([\d.]+)", line.path):
                assert charts.LEFT <= float(x) <= chart.right
                assert chart.top <= float(y) <= chart.bottom
        assert all(chart.top <= y <= chart.bottom for _, y in chart.dots)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5000))
@settings(max_examples=20)
def test_thinning_a_line_keeps_its_ends_its_top_and_its_bottom(values):
    points = list(enumerate(values))
    thin = charts.thinned(points)
    assert len(thin) <= charts.MOST_POINTS + 4
    assert (thin[0], thin[-1]) == (points[0], points[-1])
    assert {max(values), min(values)} <= {y for _, y in thin}
    assert [x for x, _ in thin] == sorted(x for x, _ in thin)


# In a browser


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.mark.parametrize("kind", ["verified", "failed", "without noise"])
def test_a_real_browser_shows_the_page_without_any_complaint_and_without_network(kind, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no browser is installed here")
    found = told(RESULTS[kind]())
    page = tmp_path / "report.html"
    page.write_text(render(found), encoding="utf-8")
    command = [
        browser,
        *(
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-extensions",
        ),
        *("--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"),
        *("--proxy-server=127.0.0.1:9", "--enable-logging=stderr", "--v=0"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, timeout=100, check=False)
    shown, log = done.stdout.decode(), done.stderr.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert found["verdict"]["headline"] in shown
    assert shown.count("<section") == page.read_text(encoding="utf-8").count("<section")
    complaints = [line for line in log.splitlines() if ":CONSOLE" in line or "Refused to" in line]
    assert not complaints


# Signed


AGREEMENT = audits.federation().agreement
EVE = identity_of("eve")


def signed_file() -> bytes:
    return sign_report(told(audits.verified()), EVE, AGREEMENT)


def test_a_signed_report_names_its_auditor_and_says_what_was_signed():
    found = check_report(signed_file(), AGREEMENT)
    assert (found.name, found.role) == ("eve", "auditor")
    assert found.report == json.loads(canonical(told(audits.verified())))
    by_party = sign_report(told(audits.verified()), identity_of("party-1"), AGREEMENT)
    assert check_report(by_party, AGREEMENT).role == "party"


def test_the_signed_bytes_can_be_checked_without_our_code():
    data = signed_file()
    said = data[len(b'{"report":') : data.rindex(b',"signature":')]
    signature = json.loads(data)["signature"]
    EVE.public.verify_bytes(DOMAIN, said, bytes.fromhex(signature["value"]))
    assert json.loads(said) == json.loads(data)["report"]


@given(position=st.integers(0, 10**9), bit=st.integers(0, 7))
@settings(max_examples=60)
def test_a_signed_report_with_any_flipped_bit_is_refused(position, bit):
    data = bytearray(signed_file())
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(LedgerError):
        check_report(bytes(data), AGREEMENT)


@pytest.mark.parametrize(
    "bend",
    [
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: data + b"\n",
        lambda data: data.rstrip(b"\n"),
        lambda data: data.replace(b'{"report":{', b'{"report":{"verdict":{},', 1),
        lambda data: data.replace(b'"version":1', b'"version":NaN'),
        lambda data: data.replace(b'"version":1', b'"version":1.0'),
        lambda data: b'{"report":' + b"[" * 100_000 + data[data.rindex(b',"signature":') :],
        lambda data: b'{"report":[]' + data[data.rindex(b',"signature":') :],
        lambda _: b"",
        lambda _: b"[]",
        lambda data: canonical(json.loads(data)["report"]),
    ],
)
def test_a_signed_report_in_another_form_is_refused(bend):
    with pytest.raises(LedgerError):
        check_report(bend(signed_file()), AGREEMENT)


def test_nobody_signs_a_report_whom_the_agreement_does_not_name_so():
    found = told(audits.verified())
    with pytest.raises(AgreementError, match="no auditor or party is called 'mallory'"):
        sign_report(found, identity_of("mallory"), AGREEMENT)
    with pytest.raises(AgreementError, match="is not the one that the agreement names"):
        sign_report(found, Identity("eve", bytes(range(32))), AGREEMENT)
    stranger = agreement_from(
        noised(plain_agreement(3))
        | {"auditors": [{k: member("eve")[k] for k in ("name", "public_key")}]}
    )
    with pytest.raises(LedgerError, match="about another agreement") as caught:
        check_report(signed_file(), stranger)
    assert caught.value.finding == "report-elsewhere"


def test_a_signature_for_another_purpose_is_no_signature_on_a_report():
    said = canonical(told(audits.verified()))
    data = json.loads(signed_file())
    data["signature"]["value"] = EVE.sign_bytes(b"securefed other purpose", said).hex()
    with pytest.raises(LedgerError, match="signature is not valid") as caught:
        check_report(canonical(data) + b"\n", AGREEMENT)
    assert (caught.value.finding, caught.value.party) == ("report-unsigned", "eve")


def test_a_report_on_an_unreadable_file_can_be_signed_for_the_agreement_that_was_meant():
    found = told(audits.unreadable(), anchor_digest=AGREEMENT.digest().hex())
    assert check_report(sign_report(found, EVE, AGREEMENT), AGREEMENT).report["agreement"] is None
    with pytest.raises(LedgerError, match="another agreement"):
        check_report(sign_report(told(audits.unreadable()), EVE, AGREEMENT), AGREEMENT)


@pytest.mark.parametrize(
    "verdict", [None, {}, {"verdict": "excellent", "anchored": True}, "\x1b[2J"]
)
def test_what_a_signer_made_up_in_place_of_a_verdict_is_refused(verdict):
    made_up = told(audits.verified()) | {"verdict": verdict}
    with pytest.raises(LedgerError, match="what became of it"):
        check_report(sign_report(made_up, EVE, AGREEMENT), AGREEMENT)


# The empirical bound


def test_a_canary_audit_stands_beside_the_proven_bound():
    found = report(audits.verified(), audits.SOURCE, CANARY)
    assert found["empirical"]["epsilon_lower"] == 1.5
    assert not [one for one in found["verdict"]["warnings"] if one["name"] == "canary-refutes"]
    assert "at least 1.5" in render(found)
    refuted = report(audits.verified(), audits.SOURCE, Canary(3.5, 2.5, 1e-5, 0.95, 64, 32, 32))
    assert [one for one in refuted["verdict"]["warnings"] if one["name"] == "canary-refutes"]
    assert "MORE than the proven" in render(refuted)
    assert told(audits.verified())["empirical"]["measured"] is False


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"epsilon_lower": NaN}', "x" * 100_000])
def test_a_file_that_is_no_canary_audit_is_refused(text, tmp_path):
    path = tmp_path / "canary.json"
    path.write_text(text)
    with pytest.raises(InputError):
        read_canary(path)
    with pytest.raises(InputError):
        read_canary(tmp_path / "missing.json")


def test_what_securefed_privacy_measures_is_what_the_report_reads(tmp_path):
    measured = audit_canaries(2.0, canaries=640, guesses=64)
    path = tmp_path / "canary.json"
    path.write_text(json.dumps(dataclasses.asdict(measured)))
    assert read_canary(path).right == measured.right
