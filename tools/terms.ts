/**
 * Words and phrases that are not used here, and what is written in their place. Each is a regular expression, without regard
 * to case; a blank stands for any white space. `example` is a text that it finds.
 */
export type Term = { readonly not: string; readonly but: string; readonly example: string };

export const terms: readonly Term[] = [
  // Who acts has a name.
  term('(?:some|any|every)(?:body|one)', 'name the client, process, user or machine', 'somebody changed it'),
  term('nobody|no one', 'no client, no process, no Service', 'an address that nobody has'),
  term('whoever|whomever', 'the client that, anyone with', 'whoever asks'),
  term('by (?:our|its|their) doing', 'set by furiwake', 'there by our doing'),
  term('because of us|for want of', 'name the cause', 'for want of an account'),

  // A clause with "what" is not a noun.
  term(
    String.raw`what (?:goes|went|comes?|came|leaves?|left|stays?|(?:is|was) (?:gone|there|left|before|in force|up|to be))`,
    'name the thing: the removed addresses, the new Services, the rest',
    'what goes is removed',
  ),
  term('there (?:is|are|was|were) none of', 'that does not exist', 'a node that there is none of'),
  term(
    String.raw`(?<!\bthere )(?:is|are|was|were) no (?!longer|more|less|fewer|later|earlier|different|better|worse|slower|faster|such|need|match)\w+`,
    'is not a, has no',
    'that is no CIDR',
  ),

  // Addresses and Services are assigned, restored and released.
  term(
    '(?:lets?|letting) (?:\\w+ )?go(?: of)?|(?:give|gives|gave|given|giving) (?:back|out)|handed out',
    'release, assign',
    'the Lease was given back',
  ),
  term('(?:puts?|putting|wr(?:ites?|ote|itten)) (?:\\w+ )?back', 'restore, revert', 'the status was put back'),
  term('(?:take|takes|took|taken|taking) (?:\\w+ )?(?:away|off)', 'remove', 'taken off this host'),
  term('tells|told', 'says, shows, reports; announced to', 'neighbours are told'),
  term('look(?:s|ed|ing)? at', 'check, read', 'it could not be looked at'),
  term('(?:left|leaves?|leaving) out', 'skip, exclude', 'a node that is left out'),
  term('(?:take|takes|took|taken) for', 'consider', 'it is not taken for deleted'),
  term('(?:is|are|was|were) not there', 'does not exist, is missing', 'a file that is not there'),
  term('(?:go|goes|went|going) on', 'continue', 'traffic goes on'),
  term('(?:come|comes|came) back', 'return, be restored', 'addresses that came back'),
  term('the truth', 'the status, the state', 'wrote the truth'),
  term('mend(?:s|ed|ing)?', 'repair, fix', 'mend that'),
  term('trying on|goes on trying|tries on', 'retrying', 'the Lease cannot be read; trying on'),
  term('lives? on', 'continue', 'its connections live on'),
  term(
    'comes? and goe?s?|com(?:e|ing), chang(?:e|ing) and go(?:ing)?',
    'are created and deleted',
    'Services come and go',
  ),

  // Words of another time, or of another language.
  term('for ever', 'forever, indefinitely', 'it stays for ever'),
  term('anew', 'again, from the start', 'started anew'),
  term('seldom', 'rarely', 'logged seldom'),
  term(String.raw`some \d[\d.,]*(?: to \d+)? ?\w+`, 'about', 'in some 30 ms'),
  term('still is', 'is still', 'the old table still is in force'),
  term('(?:ignored|followed|refused|skipped|published), and said', 'and reported', 'ignored, and said'),
  term(String.raw`e\.g\.,|\beg\b|i\.e\.,?`, 'e.g. without a comma; that is', 'i.e. an address'),

  // One word for one thing: docs/glossary.md.
  term('box(?:es)?', 'load-balancer host, or host', 'on the box'),
  term('load balancer host', 'load-balancer host', 'the load balancer host'),
  term('data[ -]plane', 'dataplane', 'the data plane'),
  term('node ports?', 'NodePort', 'its node port'),
  term('load balancer class', 'load-balancer class', 'the load balancer class'),
  term('end-?points? slices?', 'EndpointSlice', 'an endpoint slice'),
];

function term(not: string, but: string, example: string): Term {
  return { not, but, example };
}
