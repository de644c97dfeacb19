from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OK: _ClassVar[Status]
    UNKNOWN_GENE: _ClassVar[Status]
    AMBIGUOUS_GENE: _ClassVar[Status]
    UNMEASURED: _ClassVar[Status]
    OUT_OF_DISTRIBUTION: _ClassVar[Status]
    LOW_CONFIDENCE: _ClassVar[Status]
    MODEL_ERROR: _ClassVar[Status]
    POOLED: _ClassVar[Status]
OK: Status
UNKNOWN_GENE: Status
AMBIGUOUS_GENE: Status
UNMEASURED: Status
OUT_OF_DISTRIBUTION: Status
LOW_CONFIDENCE: Status
MODEL_ERROR: Status
POOLED: Status

class PredictRequest(_message.Message):
    __slots__ = ("model", "relation", "names", "subjects", "objects", "context", "contexts", "deadline_ms")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    CONTEXTS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    model: str
    relation: str
    names: _containers.RepeatedScalarFieldContainer[str]
    subjects: _containers.RepeatedScalarFieldContainer[int]
    objects: _containers.RepeatedScalarFieldContainer[int]
    context: str
    contexts: _containers.RepeatedScalarFieldContainer[str]
    deadline_ms: int
    def __init__(self, model: _Optional[str] = ..., relation: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., subjects: _Optional[_Iterable[int]] = ..., objects: _Optional[_Iterable[int]] = ..., context: _Optional[str] = ..., contexts: _Optional[_Iterable[str]] = ..., deadline_ms: _Optional[int] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("p", "status", "p0", "uncertainty", "raw", "model", "version", "digest", "genes")
    P_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    P0_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    GENES_FIELD_NUMBER: _ClassVar[int]
    p: _containers.RepeatedScalarFieldContainer[float]
    status: bytes
    p0: _containers.RepeatedScalarFieldContainer[float]
    uncertainty: _containers.RepeatedScalarFieldContainer[float]
    raw: _containers.RepeatedScalarFieldContainer[float]
    model: str
    version: str
    digest: str
    genes: str
    def __init__(self, p: _Optional[_Iterable[float]] = ..., status: _Optional[bytes] = ..., p0: _Optional[_Iterable[float]] = ..., uncertainty: _Optional[_Iterable[float]] = ..., raw: _Optional[_Iterable[float]] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., genes: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "family", "version", "digest", "relations", "contexts", "vocabulary", "licence", "training", "calibration", "genes", "card", "metrics", "cost_s", "pools")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    RELATIONS_FIELD_NUMBER: _ClassVar[int]
    CONTEXTS_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    GENES_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    COST_S_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    family: str
    version: str
    digest: str
    relations: _containers.RepeatedScalarFieldContainer[str]
    contexts: _containers.RepeatedScalarFieldContainer[str]
    vocabulary: int
    licence: str
    training: str
    calibration: str
    genes: str
    card: str
    metrics: _containers.ScalarMap[str, float]
    cost_s: float
    pools: bool
    def __init__(self, name: _Optional[str] = ..., family: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., relations: _Optional[_Iterable[str]] = ..., contexts: _Optional[_Iterable[str]] = ..., vocabulary: _Optional[int] = ..., licence: _Optional[str] = ..., training: _Optional[str] = ..., calibration: _Optional[str] = ..., genes: _Optional[str] = ..., card: _Optional[str] = ..., metrics: _Optional[_Mapping[str, float]] = ..., cost_s: _Optional[float] = ..., pools: bool = ...) -> None: ...
