"""Skeletons: the data sets' own orders, left and right, and mistakes in one of the user's own."""

import json
from pathlib import Path

import numpy as np
import pytest

from hourglass_jax.data.sides import pairs_by_name, without_partner
from hourglass_jax.data.skeleton import COCO, FLIC, LSP, MPII, Skeleton
from hourglass_jax.errors import UserError

pytestmark = pytest.mark.core

COCO_FILE = Path(__file__).parents[3] / "shared/data/coco/annotations.json"

every_skeleton = pytest.mark.parametrize(
    "skeleton", [MPII, LSP, COCO, FLIC], ids=lambda skeleton: skeleton.name
)


@pytest.mark.parametrize(
    ("skeleton", "joints"),
    [
        (
            MPII,
            "rank rkne rhip lhip lkne lank pelvis thorax upper_neck head_top "
            "rwri relb rsho lsho lelb lwri",
        ),
        (LSP, "rank rkne rhip lhip lkne lank rwri relb rsho lsho lelb lwri neck head_top"),
        (
            COCO,
            "nose leye reye lear rear lsho rsho lelb relb lwri rwri lhip rhip lkne rkne lank rank",
        ),
        (FLIC, "lsho lelb lwri rsho relb rwri lhip rhip leye reye nose"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_joints_are_in_the_data_sets_order(skeleton, joints):
    def short(name):
        side, _, part = name.partition("_")
        return side[0] + part[:3] if side in ("left", "right") else name

    assert [short(name) for name in skeleton.joints] == joints.split()


@pytest.mark.parametrize(("skeleton", "count"), [(MPII, 16), (LSP, 14), (COCO, 17), (FLIC, 11)])
def test_number_of_joints(skeleton, count):
    assert skeleton.num_joints == len(skeleton.joints) == count


def test_coco_is_in_the_order_of_its_files():
    if not COCO_FILE.is_file():
        pytest.skip("shared/data/coco is not beside the project")
    person = next(
        category
        for category in json.loads(COCO_FILE.read_text())["categories"]
        if category["name"] == "person"
    )
    assert list(COCO.joints) == person["keypoints"]


@every_skeleton
def test_index_is_the_place_in_the_order(skeleton):
    assert [skeleton.index(joint) for joint in skeleton.joints] == list(range(skeleton.num_joints))


@every_skeleton
def test_flip_order_exchanges_left_and_right(skeleton):
    names = np.array(skeleton.joints)
    mirrored = [
        name.translate(str.maketrans({"<": "right", ">": "left"}))
        for name in (n.replace("left", "<").replace("right", ">") for n in skeleton.joints)
    ]
    assert names[skeleton.flip_order].tolist() == mirrored
    assert names[skeleton.flip_order][skeleton.flip_order].tolist() == names.tolist()


def test_flip_order_of_mpii_by_number():
    wanted = [5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10]
    assert MPII.flip_order.tolist() == wanted


@every_skeleton
def test_every_sided_joint_is_in_a_pair_left_first(skeleton):
    for left, right in skeleton.pairs:
        assert left.startswith("left_")
        assert right == left.replace("left_", "right_")
    sided = {joint for joint in skeleton.joints if joint.startswith(("left_", "right_"))}
    assert {joint for pair in skeleton.pairs for joint in pair} == sided


@every_skeleton
def test_limbs_reach_every_joint_and_are_alike_on_both_sides(skeleton):
    limbs = {frozenset(limb) for limb in skeleton.limbs}
    assert len(limbs) == len(skeleton.limbs)
    assert frozenset().union(*limbs) == set(skeleton.joints)
    other = dict(
        zip(skeleton.joints, np.array(skeleton.joints)[skeleton.flip_order].tolist(), strict=True)
    )
    assert {frozenset(other[joint] for joint in limb) for limb in limbs} == limbs


@every_skeleton
def test_json_and_back(skeleton):
    back = Skeleton(**json.loads(json.dumps(skeleton.to_json())))
    assert back == skeleton
    assert hash(back) == hash(skeleton)


MOUSE = {
    "name": "mouse",
    "joints": ("snout", "leftear", "rightear", "tailbase"),
    "pairs": (("leftear", "rightear"),),
    "limbs": (("snout", "tailbase"),),
}


def test_names_need_no_prefix_to_be_a_pair():
    assert Skeleton(**MOUSE).flip_order.tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": (*MOUSE["joints"], "snout")}, "'mouse' names the joint 'snout' twice"),
        ({"pairs": (("leftear", "wing"),)}, "unknown joint 'wing' in skeleton 'mouse'; it has"),
        ({"limbs": (("beak", "snout"),)}, "unknown joint 'beak' in skeleton 'mouse'; it has"),
        (
            {"pairs": (("leftear", "rightear"), ("rightear", "snout"))},
            "joint 'rightear' of skeleton 'mouse' is in more than one pair",
        ),
        ({"pairs": (("snout", "snout"),)}, r"pairs of .*'mouse'.*\('snout', 'snout'\)"),
        ({"limbs": (("snout",),)}, r"limbs of .*'mouse'.*\('snout',\)"),
    ],
)
def test_mistakes_are_told_with_the_value(change, message):
    with pytest.raises(UserError, match=message):
        Skeleton(**MOUSE | change)


def test_asking_for_an_unknown_joint_is_told():
    with pytest.raises(UserError, match=r"unknown joint 'tail' in skeleton 'mouse'.*tailbase"):
        Skeleton(**MOUSE).index("tail")


@pytest.mark.parametrize(
    ("joints", "pairs"),
    [
        (["snout", "leftear", "rightear"], [("leftear", "rightear")]),
        (["Ear left", "Ear right", "tail"], [("Ear left", "Ear right")]),
        (["FL_paw", "FR_paw", "HL_paw", "HR_paw"], [("FL_paw", "FR_paw"), ("HL_paw", "HR_paw")]),
        (["earL_tip", "earR_tip", "EarL", "EarR"], [("earL_tip", "earR_tip"), ("EarL", "EarR")]),
        (["frontLPaw", "frontRPaw"], [("frontLPaw", "frontRPaw")]),
        (["paw_l1", "paw_r1", "lsho", "rsho"], [("paw_l1", "paw_r1"), ("lsho", "rsho")]),
        (["left", "nose", "bright", "tail"], []),
        (["left_a", "right_a", "Right_A"], []),  # two partners
        (["leftEar", "rightEar"], [("leftEar", "rightEar")]),
        (["Left Ear", "Right Ear"], [("Left Ear", "Right Ear")]),
        (["l_ear", "r_ear", "L-paw", "R-paw"], [("l_ear", "r_ear"), ("L-paw", "R-paw")]),
        (["ear1L", "ear1R", "toeL2", "toeR2"], [("ear1L", "ear1R"), ("toeL2", "toeR2")]),
        (["Ohr_links", "Ohr_rechts"], [("Ohr_links", "Ohr_rechts")]),
        (["rechtes Ohr", "linkes Ohr"], [("linkes Ohr", "rechtes Ohr")]),
        (["linkeroog", "rechteroog"], [("linkeroog", "rechteroog")]),
        (["oeil_gauche", "oeil_droit"], [("oeil_gauche", "oeil_droit")]),
        (["main droite", "main gauche"], [("main gauche", "main droite")]),
        (["mano izquierda", "mano derecha"], [("mano izquierda", "mano derecha")]),
        (["ojo_izq", "ojo_der"], [("ojo_izq", "ojo_der")]),
        (["occhio_sinistro", "occhio_destro"], [("occhio_sinistro", "occhio_destro")]),
        (["orecchio_sx", "orecchio_dx"], [("orecchio_sx", "orecchio_dx")]),
        (["olho esquerdo", "olho direito"], [("olho esquerdo", "olho direito")]),
        (["vänster öga", "höger öga"], [("vänster öga", "höger öga")]),
        (["va\u0308nster öga", "höger öga"], [("va\u0308nster öga", "höger öga")]),
        (["venstre_øre", "højre_øre"], [("venstre_øre", "højre_øre")]),
        (["lewe_oko", "prawe_oko"], [("lewe_oko", "prawe_oko")]),
        (["левый глаз", "правый глаз"], [("левый глаз", "правый глаз")]),
        (["左耳", "右耳"], [("左耳", "右耳")]),
        (["der_kopf", "izq"], []),
        (["pata_d", "pata_i", "nez_g", "nez_d"], []),  # letters of other languages are not certain
    ],
)
def test_pairs_are_found_in_names(joints, pairs):
    assert pairs_by_name(joints) == tuple(pairs)


@pytest.mark.parametrize(
    ("joints", "alone"),
    [
        (["left_ear", "nose", "bright", "upright"], ["left_ear"]),
        (["earLeft", "paw_right", "rightEye", "Left Eye"], ["earLeft", "paw_right", "rightEye"]),
        (["leftear", "rightear"], []),
    ],
)
def test_sides_without_a_partner_are_found(joints, alone):
    found = without_partner(joints, [*pairs_by_name(joints), ("Left Eye", "x")])
    assert found == alone


@pytest.mark.parametrize("skeleton", [MPII, LSP, COCO, FLIC], ids=lambda s: s.name)
def test_the_published_pairs_are_found_in_the_published_names(skeleton):
    assert sorted(pairs_by_name(skeleton.joints)) == sorted(skeleton.pairs)
