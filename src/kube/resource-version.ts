/**
 * True when resourceVersion `a` is certainly newer than `b`, both of one resource type. Versions are decimal integers of
 * any length, so they are compared by length, then as text: parsed to a number they would lose digits. False if one of
 * them is not such an integer (an aggregated API server may use any text): their order is unknown then.
 *
 * Source: KEP-5504, `CompareResourceVersion` of k8s.io/apimachinery/pkg/util/resourceversion.
 */
export function isNewer(a: string, b: string): boolean {
  return isInteger(a) && isInteger(b) && (a.length === b.length ? a > b : a.length > b.length);
}

function isInteger(version: string): boolean {
  return /^[1-9]\d*$/.test(version);
}
