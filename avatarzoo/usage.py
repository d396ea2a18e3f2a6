"""What `avatarzoo --help` and `avatarzoo VERB --help` print."""

USAGE = """\
AvatarZoo {version}: photoreal head avatars from multi-view captures and tracked videos.

usage: avatarzoo VERB [key=value ...]

verbs:
  fit     train:   avatarzoo fit recipe=pica_full scale=small
  test    score:   avatarzoo test ckpt=RUN protocol=tracked-v1 out=DIR
  render  film:    avatarzoo render ckpt=RUN what=image path=orbit out=orbit.mp4
  bench   compare: avatarzoo bench suite=pica_table1 seeds=[0,1] minutes=6 scale=small
  leaderboard  tables and a page of records:  avatarzoo leaderboard runs/bench
  curve   PSNR against minutes of training:  avatarzoo curve RUN RUN
  bench-speed  time:  avatarzoo bench-speed recipes=dam,pica_full scale=paper threads=1
  list    what there is: recipes, components and their options, a capture's cameras and segments
  doctor  what works on this machine, and why the rest does not

`avatarzoo VERB --help` says more. RUN is a run's folder, such as runs/pica_full/DATE-TIME.
AVATARZOO_DEBUG=1 shows the traceback of an error.

recipes:
{recipes}
"""

FIT = """\
usage: avatarzoo fit recipe=NAME [key=value ...]
       avatarzoo fit resume=RUN [key=value ...]

  recipe=NAME|PATH.yaml     a shipped recipe or your own
  scale=small|paper         small trains on two CPU cores in minutes; default: paper, the published configuration
  data=multiface data.root=DIR data.image_height=256
                            your capture; default: the built-in synthetic one, data=synthetic
  encoding=NAME encoding.KEY=VALUE
                            another component, or an option of one; so for model, driver, warp, rasterizer.
                            `avatarzoo list encodings` names them, `avatarzoo list encoding=NAME` its options
  trainer.max_steps=N       default: the recipe's (null: trainer.max_time alone ends the run)
  trainer.max_time=HH:MM:SS default: null; the run ends at whichever limit comes first
  trainer=default|bf16      bf16 for a GPU; default: default
  loader.batch_size=N       default: 4 pictures per step
  pictures.every=N          steps between two picture grids, default 500; checkpoint.every=N, default 1000
  checkpoint.snapshot_minutes=N  keep the weights every N minutes of training, for `avatarzoo curve`; default: null
  logger=csv|wandb|tensorboard   default csv, which is written always
  out=DIR                   default runs/RECIPE/DATE-TIME
  seed=N                    default 0
  plugins=[FILE.py]         Python files of yours that register components
  resume=RUN                go on with a run, exactly; limits, pictures, checkpoints, logger and workers may change

The run's folder holds config.yaml with every key there is, metrics.csv, pictures, checkpoints. Ctrl-C saves and ends it.

recipes:
{recipes}
"""

TEST = """\
usage: avatarzoo test ckpt=RUN [key=value ...]

  ckpt=RUN|FILE.ckpt
  protocol=NAME[,NAME]      default tracked-v1
  data.root=DIR ...         another capture, or other options of it; default: what it was trained on
  out=DIR                   default RUN/test. Predictions as PNG, record.json, table
  split=test|val|train      default test
  batch_size=N   workers=N   device=auto|cpu|cuda   default 4, 0, auto
  plugins=[FILE.py]         that the checkpoint was made with
  fit_codes=STEPS           driver=frame_code: fit codes of unseen frames to their pictures; the record says so

protocols:
{protocols}
"""

RENDER = """\
usage: avatarzoo render ckpt=RUN out=FILE.mp4 [key=value ...]

  out=FILE.mp4|FILE.png|DIR default avatar.mp4; also .mov, .mkv, .webm, .gif, or a folder of pictures
  what=image|normal|depth|mesh      default image
  what=compare              a segment's pictures beside the avatar's and the error; with segment=NAME [path=camera:NAME]
  path=orbit                default: the camera swings around the head, sideways by yaw=45 degrees, up and down by pitch=12;
                            yaw=180 goes all the way round
  path=dolly                the camera drives away and comes close, at constant focal length
  path=camera:NAME          stand where a camera of the capture stood (`avatarzoo list data=multiface data.root=DIR`)
  framing=head|camera       head: a square picture with the whole head in it, from the side of the front camera (default of
                            orbit and dolly); camera: the capture's own crop (default of camera:NAME)
  segment=NAME              drive it with a segment of the capture (data.root=DIR); default: the neutral face
  split=test                of that segment, the frames of one split alone (a video is one segment: train and test)
  driver.source=TAKE.csv    drive it with recorded parameters (Live Link Face's CSV, a tracker's files);
                            driver.source=example needs no file
  driver.edition=2020       of FLAME, that the take's codes belong to, where its files do not say so
  size=PIXELS               height of the pictures; default: the height trained at
  frames=N   fps=N          default: one per driving frame and 96 at least where something moves; 25
  device=auto|cpu|cuda      default auto
  plugins=[FILE.py]         that the checkpoint was made with
"""


BENCH = """\
usage: avatarzoo bench suite=NAME|PATH.yaml [key=value ...]
       avatarzoo bench recipes=[NAME,NAME] [key=value ...]

  minutes=M | steps=N       equal time or equal steps for every recipe; neither: as long as each recipe says
  seeds=[0,1]               one run of every recipe per seed
  only=[ROW,ROW]            some rows of the suite
  protocol=NAME[,NAME]      default: the suite's
  out=DIR                   default runs/bench. Runs go to DIR/ROW/KEY-seedN and are shared by all suites
  launcher=local|slurm      slurm.slurm_partition=NAME slurm.timeout_min=60 ...: what each job asks for
  plugins=[FILE.py]
  partial=true              run the others where half of the rows or more cannot run
  anything else (scale=small, data=multiface, data.root=DIR, ...) goes to every recipe

Each run trains and is scored in a fresh process. The same command goes on where an earlier one stopped; benches may run
side by side. A row that fails says why and stops nobody; the exit status is 1 then.

suites:
{suites}
"""


LEADERBOARD = """\
usage: avatarzoo leaderboard DIR|FILE.json [...] [key=value ...]

  DIR                       searched for record.json, such as runs/bench; FILE.json holds records
  out=DIR                   default: leaderboard in the first DIR. leaderboard.md, .csv, .html and curves
  --wandb ENTITY/PROJECT    also to Weights & Biases: tables, pictures, the records; without a key it is an offline run
  speed=FILE.json[,...]     what `avatarzoo bench-speed out=FILE.json` wrote: per-object and per-pixel times
  note=TEXT                 shown on top of the page, e.g. whom the capture is owed to
"""


CURVE = """\
usage: avatarzoo curve RUN [RUN ...] [key=value ...]

  RUN                       a run's folder, or one that holds runs, such as runs/bench. Train with
                            checkpoint.snapshot_minutes=N, so that there are snapshots to score
  protocol=NAME             default tracked-v1
  out=DIR                   default: curve in the first RUN. curve.csv, curve.png
  data.root=DIR ...         another place or other options of the capture; default: what each run was trained on
  batch_size=N   workers=N   device=auto|cpu|cuda   default 4, 0, auto
  plugins=[FILE.py]         that the checkpoints were made with

Scores every snapshot and the last checkpoint; the records stay in RUN/curve/, and the same command again scores only
what is new. Seeds of one recipe are one line; runs of different captures are refused.
"""


BENCH_SPEED = """\
usage: avatarzoo bench-speed [key=value ...]

  recipes=NAME,NAME         default dam,pica_full; ratios are the first's time over each other's
  scale=paper|small   threads=1   device=cpu|cuda   repeat=15
  dtype=float32,bfloat16
  what=object,pixel,avatars decoders and mesh; shading covered pixels; whole pictures of several avatars
  pixels=200000,900000,2700000   avatars=1,2,3,4,5
  data=multiface data.root=DIR ...   whose mesh; default: the synthetic head
  out=FILE.json
"""


LIST = """\
usage: avatarzoo list [WHAT ...]                            default: everything
       avatarzoo list KIND=NAME                             the options of a component, with types and defaults
       avatarzoo list data=multiface data.root=DIR [data.KEY=VALUE ...]
                                                            a capture's segments, cameras and views

  WHAT    recipes, suites, models, encodings, drivers, warps, rasterizers, losses, protocols, data
  KIND    model, encoding, driver, warp, rasterizer, loss, protocol, data; e.g. encoding=hash_grid
"""
