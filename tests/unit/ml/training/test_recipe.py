"""The settings of a recipe: its stages, and what may be changed."""

from dataclasses import fields

import pytest
from click.testing import CliRunner

from cli.train.command import train
from ml.training.recipe import RECIPES, Recipe, changed, described, progressive
from umbel.base.errors import InvalidInput


@pytest.mark.parametrize("epochs", range(1, 13))
def test_progressive_stages_add_up_and_grow_towards_the_size(epochs):
    stages = progressive(192, epochs)

    assert sum(count for _, count in stages) == epochs
    assert 96 <= stages[0][0] <= stages[-1][0] <= 192
    assert [size for size, _ in stages] == sorted(size for size, _ in stages)


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("scale=45", 45.0),
        ("frozen_stages=0", 0),
        ("pooling=gem", "gem"),
        ('pooling="gem"', "gem"),
        ("flip_average=true", True),
        ("mean=[0.5, 0.5, 0.5]", (0.5, 0.5, 0.5)),
        ("mean=null", None),
        ("stages=[[128,4],[160,2]]", ((128, 4), (160, 2))),
        ("crop_area=[0.5,1]", (0.5, 1.0)),
    ],
)
def test_a_setting_takes_json_of_its_type(assignment, value):
    name = assignment.partition("=")[0]

    recipe = changed(Recipe(), [assignment])

    assert getattr(recipe, name) == value
    assert type(getattr(recipe, name)) is type(value)
    assert [field.name for field in fields(Recipe) if getattr(recipe, field.name) != getattr(Recipe(), field.name)] in (
        [name],
        [],
    )


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("scael=45", "there is no setting 'scael'. Settings: name, seed, .*blur_sides"),
        ("scale", "'scale' is not name=value"),
        ("scale=much", "--set scale: .*number.*, not 'much'"),
        ("balance=2", "--set balance: .*less than or equal to 1, not '2'"),
        ("members=0.5", "--set members: .*integer"),
        ("pooling=max", "--set pooling: .*'avg' or 'gem'"),
        ("stages=[]", "--set stages: .*at least 1 item"),
        ("stages=[[8,1]]", "--set stages: .*greater than or equal to 32"),
    ],
)
def test_a_wrong_setting_is_told_with_what_is_right(assignment, told):
    with pytest.raises(InvalidInput, match=told):
        changed(Recipe(), [assignment])


def test_every_setting_of_every_recipe_is_one_that_set_would_take():
    for recipe in RECIPES.values():
        text = [f"{name}={value}" for name, value, _ in described()]
        assert changed(recipe, text) == Recipe()
    assert all(what for _, _, what in described())


def test_the_command_lists_the_settings():
    done = CliRunner().invoke(train, ["--list-settings"])

    assert done.exit_code == 0
    for field in fields(Recipe):
        assert field.name in done.stdout
