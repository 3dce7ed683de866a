"""Public benchmarks on a model that somebody else trained: prompts, scores and metrics.

The other side is lm-evaluation-harness alone: its YAML, its `ConfigurableTask` over the same files,
its `HFLM` over a Hugging Face model whose layer was deleted.
"""

import copy
import json
import logging
from pathlib import Path

import pytest
import transformers as hf

import interp
from interp.results.export import harness_results
from interp.tasks import harness_folder, load_task
from interp.tasks.names import definitions
from tests.helpers.families import delete_layers
from tests.helpers.thinning import sized
from tests.parity.real_rows import DATA, STORIES, lay_out, whole_mmlu

pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the real rows are not there ({DATA})"),
    pytest.mark.skipif(not STORIES.is_dir(), reason=f"the real model is not there ({STORIES})"),
]
SCORED = [
    "mmlu_astronomy", "mmlu_astronomy:continuation",
    "hellaswag", "hellaswag:default", "mathqa", "mathqa:default", "arc_easy", "arc_easy:default",
    "arc_challenge", "arc_challenge:default", "openbookqa", "openbookqa:default",
    "openbookqa-fact:continuation", "openbookqa-fact:default", "winogrande", "piqa", "boolq",
    "qasc:default", "qasc:continuation", "qasc-facts:default", "qasc-facts:continuation",
    "nq-open:continuation", "nq-open-gold:continuation",
]  # fmt: skip
GENERATED = [
    "mmlu_astronomy:generate", "hellaswag:generate", "mathqa:generate", "arc_easy:generate",
    "arc_challenge:generate", "openbookqa:generate", "openbookqa-fact:generate", "gsm8k", "nq_open",
    "qasc:generate", "qasc-facts:generate", "nq-open:generate", "nq-open-gold:generate",
]  # fmt: skip
LAYERS = (0, 2, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return lay_out(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def stories():
    return interp.load_model(STORIES)


@pytest.fixture(scope="module")
def judges():
    """HFLM over the model as it is (None) and with each of the layers deleted."""
    from lm_eval.models.huggingface import HFLM

    tokenizer = hf.AutoTokenizer.from_pretrained(STORIES)
    made = {}
    for layer in (None, *LAYERS):
        model = hf.AutoModelForCausalLM.from_pretrained(STORIES).eval()
        model = model if layer is None else delete_layers(model, [layer])
        made[layer] = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, device="cpu")
    return made


def harness_task(name: str, folder: Path, *, num_fewshot: int):
    """The task as the harness alone builds it from these files."""
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    (found,) = definitions(name)
    config = {k: v for k, v in load_yaml(found.path).items() if k not in ("tag", "group")}
    hub = str(config["dataset_path"]).rpartition("/")[2]
    hub = {"math_qa": "mathqa", "super_glue": "boolq", "json": "nq-open-oracle"}.get(hub, hub)
    place = folder / hub
    if (place / str(config.get("dataset_name"))).is_dir():
        place /= config["dataset_name"]
    files = {p.stem: str(p) for p in place.glob("*.jsonl")}
    if hub == "mmlu":
        for split in ("dev", "test"):
            rows = [
                json.loads(line) for line in (place / f"{split}.jsonl").read_text().splitlines()
            ]
            rows = [row for row in rows if row["subject"] == config["dataset_name"]]
            own = folder / f"{config['dataset_name']}-{split}.jsonl"
            own.write_text("".join(json.dumps(row) + "\n" for row in rows))
            files[split] = str(own)
    splits = ("training_split", "validation_split", "test_split", "fewshot_split")
    config = {k: v for k, v in config.items() if k not in splits or v in files}
    config |= {"dataset_path": "json", "dataset_name": None, "num_fewshot": num_fewshot}
    cache = str(folder / "cache")
    config["dataset_kwargs"] = {"data_files": files, "cache_dir": cache}
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    task = ConfigurableTask(config=config)
    task.set_fewshot_seed(1234)
    return task


def harness_requests(task):
    """Every request that the harness itself would make, row by row."""
    task.build_all_requests(rank=0, world_size=1)
    found: dict[int, list] = {}
    for instance in sorted(task.instances, key=lambda i: (i.doc_id, i.idx)):
        found.setdefault(instance.doc_id, []).append(instance)
    return found


@pytest.mark.parametrize("num_fewshot", [0, 5])
@pytest.mark.parametrize("name", SCORED + GENERATED)
def test_prompts_are_the_harness_byte_for_byte(folder, name, num_fewshot):
    if num_fewshot and "nq-open" in name:
        pytest.skip("the gold documents come without a train split")
    theirs = harness_requests(harness_task(name, folder, num_fewshot=num_fewshot))
    ours = load_task(name, data=folder, num_fewshot=num_fewshot)
    assert len(ours.documents()) == len(theirs) >= 20
    # from the last row to the first: what a row is asked must not hang on what came before it
    for doc_id in reversed(range(len(theirs))):
        document = ours.documents()[doc_id]
        context = ours._harness.fewshot_context(document, num_fewshot=num_fewshot)
        made = ours._harness.construct_requests(document, context, metadata=(name, doc_id, 1))
        made = made if isinstance(made, list) else [made]
        assert [i.args for i in made] == [i.args for i in theirs[doc_id]]


@pytest.mark.parametrize("name", SCORED)
def test_scores_and_metrics_are_the_harness(folder, stories, judges, tmp_path, name):
    num_fewshot = 5 if name in ("mmlu_astronomy", "arc_easy:default", "piqa") else 0
    theirs = harness_task(name, folder, num_fewshot=num_fewshot)
    asked = harness_requests(theirs)
    ours = load_task(name, data=folder, num_fewshot=num_fewshot)
    skipped = [f"layer:{layer}" for layer in LAYERS]
    run = interp.sweep(stories, [ours], skipped, out=tmp_path / "run", limit=3)
    found = run.responses().set_index(["ablation", "doc_id"])
    for layer, judge in judges.items():
        text = "baseline" if layer is None else f"layer:{layer}"
        for doc_id, row in found.loc[text].iterrows():
            answers = judge.loglikelihood(asked[doc_id], disable_tqdm=True)
            values = [value for value, _ in answers]
            assert list(row["loglikelihoods"]) == pytest.approx(values, abs=1e-4)
            assert list(row["greedy"]) == [greedy for _, greedy in answers]
            results = answers[:1] if theirs.OUTPUT_TYPE == "loglikelihood" else answers
            metrics = theirs.process_results(theirs.eval_docs[doc_id], results)
            assert {m: row[m] for m in metrics} == metrics


@pytest.mark.parametrize("name", GENERATED)
def test_generated_answers_and_metrics_are_the_harness(folder, stories, judges, tmp_path, name):
    theirs = harness_task(name, folder, num_fewshot=0)
    ours = load_task(name, data=folder, num_fewshot=0)
    for task in (theirs, ours._harness):
        task.config.generation_kwargs["max_gen_toks"] = 12
    asked = harness_requests(theirs)
    run = interp.sweep(stories, [ours], ["layer:0", "layer:2"], out=tmp_path / "run", limit=2)
    found = run.responses().set_index(["ablation", "doc_id"])
    for layer in (None, 0, 2):
        text = "baseline" if layer is None else f"layer:{layer}"
        for doc_id, row in found.loc[text].iterrows():
            (instance,) = copy.deepcopy(asked[doc_id])
            (answer,) = judges[layer].generate_until([instance], disable_tqdm=True)
            assert row["text"] == answer
            instance.resps = [answer]
            for ensemble in theirs._filters:
                ensemble.apply([instance])
                named = "" if ensemble.name == "none" else f",{ensemble.name}"
                filtered = instance.filtered_resps[ensemble.name]
                filtered = filtered if isinstance(filtered, list) else [filtered]
                metrics = theirs.process_results(theirs.eval_docs[doc_id], filtered)
                assert {m: row[m + named] for m in metrics} == metrics


@pytest.mark.parametrize("name", ["mmlu", "mmlu:continuation", "mmlu:generate"])
def test_the_score_of_a_group_is_the_harness_aggregate(folder, stories, tmp_path, name):
    """Twelve subjects, unequally many rows of each: the harness' own weighting."""
    from lm_eval.api.group import Group
    from lm_eval.tasks._yaml_loader import load_yaml

    with pytest.warns(UserWarning, match="45 of its 57 tasks have no rows"):
        task = load_task(name, data=folder, num_fewshot=0)
    if task.generates:
        for member in task._harness.members:
            member.config.generation_kwargs["max_gen_toks"] = 4
    limit = 25
    run = interp.sweep(stories, [task], [], out=tmp_path / "run", limit=limit)
    found = run.responses()
    metric = "exact_match,get_response" if task.generates else "acc"
    member_of = [task.strata[doc_id] for doc_id in found["doc_id"]]
    by_member = found.groupby(member_of)[metric]
    suffix = "" if task.generates else ",none"
    results = {
        member: {f"{metric}{suffix}": values.mean(), "sample_len": len(values)}
        for member, values in by_member
    }
    path = definitions(name)[0].path.parent / "_mmlu.yaml"
    group = Group.from_config({k: v for k, v in load_yaml(path).items() if k != "task"})
    for member in results:
        group.add(_leaf(member))
    assert len(results) == 12
    assert group.aggregate(results)[f"{metric}{suffix}"] == pytest.approx(found[metric].mean())


@pytest.fixture(scope="module")
def all_subjects(tmp_path_factory):
    """The 57 subjects as the harness names them, and their rows for us and for it."""
    subjects = [d.name.removeprefix("mmlu_") for d in definitions("mmlu")]
    assert len(subjects) == 57
    most = sized(thinned=8, whole=1000)
    return whole_mmlu(tmp_path_factory.mktemp("mmlu"), subjects, most=most)


@pytest.mark.thinned(share=2)
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["default", "continuation"])
def test_the_whole_of_mmlu_is_what_the_harness_evaluates(
    all_subjects, stories, judges, tmp_path, monkeypatch, kind
):
    """`evaluate` over the harness' own group of 57 subjects: its YAML, its loader, its weighting.

    All 907 questions under two models take some three minutes of one core.
    """
    from lm_eval.evaluator import evaluate

    data, hub = all_subjects
    monkeypatch.chdir(hub)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    theirs = their_groups("mmlu" if kind == "default" else f"mmlu_{kind}", kind)
    whole, *parts = sorted(theirs["groups"], key=len)
    assert (len(parts), len(theirs["tasks"])) == (4, 57)
    task = load_task(whole, data=data)
    run = interp.sweep(stories, task, ["layer:2"], out=tmp_path / "run", cluster="subject")
    scores = run.scores(resamples=100).query("metric == 'acc'").set_index("ablation")["value"]
    for text, layer in (("baseline", None), ("layer:2", 2)):
        expected = evaluate(in_batches(judges[layer]), theirs, bootstrap_iters=0)
        found = run.responses(tasks=whole, ablations=text).set_index("doc_id")
        assert len(found) == sum(map(len, expected["samples"].values())) > 57
        for member, samples in expected["samples"].items():
            own = [i for i, name in enumerate(task.strata) if name == member]
            for doc_id, sample in zip(own, samples, strict=True):
                assert task.documents()[doc_id]["question"] == sample["doc"]["question"]
                values = [value for value, _ in sample["filtered_resps"]]
                row = found.loc[doc_id]
                # beyond 100 nats relatively: the harness sums in float32, whose steps at the
                # 465 nats of the longest option are 3e-5
                close = pytest.approx(values, abs=1e-4, rel=1e-6)
                assert list(row["loglikelihoods"]) == close
                assert row["acc"] == sample["acc"]
        score = expected["groups"][whole]["acc,none"]
        exported = harness_results(run, text)["results"][whole]["acc,none"]
        assert exported == pytest.approx(score)
        assert scores[text] == pytest.approx(100 * score)
        values = run.values(tasks=whole, ablations=text).query("metric == 'acc'")
        by_subject = values.groupby("cluster")["value"].mean()
        assert by_subject.to_dict() == pytest.approx(
            {
                theirs["tasks"][member].config.dataset_name: expected["results"][member]["acc,none"]
                for member in expected["samples"]
            }
        )
        for part in parts:
            inside = set(theirs["group_map"][part])
            own = [i for i, name in enumerate(task.strata) if name in inside]
            mean = found.loc[own, "acc"].mean()
            assert mean == pytest.approx(expected["groups"][part]["acc,none"])
        # subjects are of unequal size: their plain mean is another number
        assert by_subject.mean() != pytest.approx(score, abs=1e-5)


def test_the_parts_of_mmlu_are_the_harness_parts(all_subjects, tmp_path, monkeypatch):
    data, hub = all_subjects
    monkeypatch.chdir(hub)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    theirs = their_groups("mmlu", "default")
    for part in ("mmlu_stem", "mmlu_other", "mmlu_social_sciences", "mmlu_humanities"):
        members = theirs["group_map"][part]
        assert list(dict.fromkeys(load_task(part, data=data).strata)) == members


def their_groups(group, kind):
    """A group of MMLU as the harness alone loads it; `cais/mmlu` is found in this folder."""
    from lm_eval.tasks import TaskManager

    place = harness_folder() / "mmlu" / kind
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager(include_path=str(place), include_defaults=False).load([group])


def in_batches(judge):
    """The same model, several rows at a time: so many rows would take an hour one by one."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=judge.model, tokenizer=judge.tokenizer, batch_size=16, device="cpu")


def _leaf(name):
    """A task of this name, as far as a group of the harness asks."""
    from lm_eval.api.task import Task

    nothing = dict.fromkeys(Task.__abstractmethods__, lambda *_args, **_kwargs: None)
    return Task.__new__(type("Leaf", (Task,), {"task_name": name, **nothing}))
