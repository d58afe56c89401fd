export type LabErrorCode =
  | 'BAD_OPTION'
  | 'BUILD_FAILED'
  | 'INTERRUPTED'
  | 'LAB_BUSY'
  | 'LEFTOVERS'
  | 'NEEDS_ROOT'
  | 'NO_SUCH_LAB'
  | 'NO_SUCH_PART'
  | 'PACKAGES_MISSING'
  | 'PART_ENDED'
  | 'TIMED_OUT'
  | 'WRONG_SUM';

/** What went wrong with the lab itself, in words for the person in front of it; `hint` says what to do. */
export class LabError extends Error {
  override readonly name = 'LabError';
  readonly code: LabErrorCode;
  readonly hint: string | undefined;
  constructor(code: LabErrorCode, message: string, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.hint = hint;
  }
}
