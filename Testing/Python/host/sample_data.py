"""`SampleData`: keeps what modules register; see `Host.click_sample`."""

from __future__ import annotations

from types import SimpleNamespace

import slicer


class SampleDataLogic:
    """The registry is `slicer.modules.sampleDataSources`: category to sources."""

    def __init__(self):
        """Slicer registers its own data now, and not before; two of them, by name, with nothing to download."""
        for name in ("CTPCardioSeq", "CTCardioSeq"):
            self.registerCustomSampleDataSource(
                "General", sampleName=name, uris=f"https://data.example.org/{name}", fileNames=f"{name}.seq.nrrd"
            )

    def sourceForSampleName(self, sampleName):
        every = (source for sources in slicer.modules.sampleDataSources.values() for source in sources)
        return next((source for source in every if source.sampleName == sampleName), None)

    @staticmethod
    def registerCustomSampleDataCategory(category, title):
        """Slicer shows the title in place of the category."""

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom", *, sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,
        thumbnailFileName=None, loadFileTypes=None, loadFiles=None, loadFileProperties=None, checksums=None,
    ):  # fmt: skip
        # Slicer counts the URIs, also where a function of the module's own makes the data.
        if not isinstance(uris, str) and len(uris) != len(fileNames):
            raise ValueError("All fields of sample data source must have the same length")
        source = SimpleNamespace(
            sampleName=sampleName, uris=uris, fileNames=fileNames, nodeNames=nodeNames, checksums=checksums,
            customDownloader=customDownloader, thumbnailFileName=thumbnailFileName,
            loadFileTypes=loadFileTypes, loadFiles=loadFiles, loadFileProperties=loadFileProperties or {},
        )  # fmt: skip
        sources = slicer.modules.sampleDataSources.setdefault(category, [])
        if source not in sources:
            sources.append(source)
