import { ruleParts } from './rule-parts.ts';

/** What the packets of an open listener of which no stand-in has flows go through, beside the look for a node. */
export type StraightNeeds = { readonly hasRanges: boolean; readonly isChecked: boolean };

/** The chain of `straight` for such a listener. */
export function straightChain(family: 4 | 6, { hasRanges, isChecked }: StraightNeeds): string {
  return `${hasRanges ? 'ranged' : ''}${isChecked ? 'checked' : 'straight'}${family}`;
}

/** The end of a chain for packets of an open listener that is not in `checked`. A pin whose node is gone is deleted. */
export function admitted(family: 4 | 6): string {
  const { flow, isSyn, listener } = ruleParts(family);
  return `
		meta mark set ${flow}
		${isSyn} goto syn${family}
		meta mark set meta priority . meta mark map @pins jump keep${family}
		meta priority 0 ${listener} delete @pins { meta priority . ${flow} : meta mark } meta mark set ${flow}
		goto unpinned${family}`;
}

/** These chains: for each kind of listener one, so that its packets are looked up in no set that it is not in. `open` counts them. */
export function straightChains(family: 4 | 6): string {
  const { checkRanges } = ruleParts(family);
  const chains = [true, false].flatMap((hasRanges) =>
    [true, false].map((isChecked) => {
      const ranges = hasRanges ? `\n\t\t${checkRanges}` : '';
      return `
	chain ${straightChain(family, { hasRanges, isChecked })} {
		ether saddr @node_macs drop${ranges}
		meta priority @open ${isChecked ? `goto check${family}` : `continue${admitted(family)}`}
	}
`;
    }),
  );
  return chains.join('');
}
