"""From a grid of budgets and sizes to trials, their cost and the precision to expect."""

from scaling.plan.config import GridConfig
from scaling.plan.grid import plan_grid
from scaling.plan.plan import Plan, Trial, merge_plans
from scaling.plan.stages import next_plan, plan_stages
