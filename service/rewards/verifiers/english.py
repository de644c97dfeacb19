"""Gene names of four letters or more that are English words when written in lower case.

Drawn from the symbols and aliases of HGNC and NCBI (any organism's reader would write "rest" or
"impact" without meaning a gene). Shorter names need no list: they count in their own case only.
Limits: common English and the words of biology papers, not every entry of a dictionary.
"""

from __future__ import annotations

from typing import Final

_WORDS: Final = """
adam alas alpha amid apex apple arch args arms atom bail bank barr bars base bash beam best beta
bird bite blame blot bomb bone bright cage call camel camp cant caps card cardinal carp cars cart
cast catch cats cell chat cherry chip chop chrome clamp clean clever clip clock clone coil comb
cool cope core crop cross cryptic damage dance danger dare dark date debt deepest degree delta
desert dice dies diff digit dirs disc dish disp dock down drag dread duet ears echo eros ever
expand eyes face fact fade fall fast fate feat feel fell find finger fire fish flame flap flash
flip flower fold foot free fringe frost fuse gain gamma gaps gate gene glob grab grasp great grid
grim grip half hand hang hard hare harp hash heat held help here hide hint hits hole home hook
hope host human idea image impact into iota jade jumpy kappa kept killer kind king lack lamb
lambda lane large lark last lays leap lets life light like lime limit link live lobe long loop
lost lynx mail male maps mark mars mask mass mate math maze meal meet melt merit mesh mice mild
mind minor mint mist mode mole most moth multi muted naked neat nest nets nice nobody noon nope
norm notch note numb once page paint pair palm paris park parrot part particle parts pass past
path peak pear penta perm permit pick pink pins pint pipe plane plot plus pole poll pore post prep
pros protein prune puma pump pure purl quit race rack rage raid ramp rank raptor rare raver read
real reel related rest rich ring rise risk role rolls roof rose rush sage salt scan scar scratch
seal seam secret seek self sell send senses sharp shed ship shock shop shot show side sigma sign
simple sink skip slack slim slip smart snap solo some song soon sort sour spam span spark spatial
spike spin spot spring stab stamp star stars stat steep stem step stop storm strap strip strong
such swan swap sway symbol sync tail talk tall tank tape tars task team tech tell temp tens tent
test text thank them then theta thing tide tied time tone torso trade trail traits tramp trance
trap triad trick trim trio trip tube tumor turn tweak twist type undo unit upon vars very visa
wait walk wall warp wars warts wasp wave weak well west white wide wing wins wire wise wish wrap
yank zeta zinc
"""

ENGLISH: Final = frozenset(_WORDS.split())
