"""Closure of requirements of the current environment, as a lock file."""
import tomllib
from importlib import metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
project = tomllib.load(open('pyproject.toml','rb'))
def closure(reqs, skip=()):
    seen={}
    todo=[Requirement(r) for r in reqs]
    while todo:
        r=todo.pop(); n=canonicalize_name(r.name)
        for extra in [''] + sorted(r.extras):
            if (n,extra) in seen: continue
            d=metadata.distribution(r.name); seen[n,extra]=d.version
            for q in d.requires or []:
                q=Requirement(q)
                if q.marker is None or q.marker.evaluate({'extra':extra}): todo.append(q)
    return {n:v for (n,e),v in seen.items()}
run=closure(project['project']['dependencies']+project['build-system']['requires']+['editables'])
dev=closure(project['project']['optional-dependencies']['dev'])
def write(path, pins, note):
    with open(path,'w') as f:
        f.write(note)
        for n in sorted(pins): f.write(f"{n}=={pins[n].split('+')[0]}\n")
run.pop('torch'); dev={n:v for n,v in dev.items() if n not in run and n!='torch'}
write('envs/requirements.lock',run,"# What lysoquant runs on, besides torch==2.13.0, which is installed first. Made from pyproject.toml.\n")
write('envs/requirements-dev.lock',dev,"# What its tests and checks need besides requirements.lock.\n")
print(len(run),len(dev))
