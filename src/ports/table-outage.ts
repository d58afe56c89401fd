/** A table of furiwake in nftables that may not be in force. */
export type TableOutage = {
  /**
   * Why, of nft: another program has changed the table, and it could not be restored twice. `undefined`: it is in force, as far as is
   * known.
   */
  words(): string | undefined;
  /** Calls `listener` after each change of `words`; returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
};
